"""MariaDB and MySQL, through asyncmy or PyMySQL."""

from __future__ import annotations

import logging
import math
import re
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Insert,
    PrimaryKeyConstraint,
    Table,
    and_,
    case,
    cast,
    event,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects.mysql import BIT, ENUM, SET, YEAR, insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState
from sqlalchemy.types import (
    BINARY,
    CHAR,
    VARBINARY,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    LargeBinary,
    NullType,
    Numeric,
    String,
    Time,
    TypeEngine,
    Uuid,
)

from layered_backend import errors
from layered_backend.dialects.base import INT64, NO_DATABASE, REFUSED, DatabaseDialect, Reading
from layered_backend.dialects.lock_names import lock_label
from layered_backend.dialects.rows import Rows
from layered_backend.dialects.sort_forms import SortForm, as_stored, bare, comparable, stored_type

__all__ = ["MySQLDialect"]

_logger = logging.getLogger("layered_backend")
_SERVER = "layered_backend_server"
_READ_ONLY = "layered_backend_read_only"
_LOCKS = "layered_backend_locks"
_MICROSECOND_DIGITS = 6
_READ_WHOLE = (BINARY, VARBINARY, Date, DateTime, Integer, LargeBinary, NullType, String, Time, Uuid)
_NUMBER, _DECIMAL, _TEXT = Integer(), Numeric(), String()
_DOUBLE: Double[float] = Double()

# https://mariadb.com/kb/en/mariadb-error-code-reference/
_BY_ERRNO: Mapping[int, type[errors.LayeredError]] = {
    1062: errors.UniqueViolationError,
    1216: errors.ForeignKeyViolationError,
    1217: errors.ForeignKeyViolationError,
    1451: errors.ForeignKeyViolationError,
    1452: errors.ForeignKeyViolationError,
    1048: errors.NotNullViolationError,
    1364: errors.NotNullViolationError,  # no value given, and the column has no default
    3819: errors.CheckViolationError,  # MySQL
    4025: errors.CheckViolationError,  # MariaDB
    1264: errors.InvalidDataError,  # out of range
    1265: errors.InvalidDataError,  # truncated
    1292: errors.InvalidDataError,  # incorrect value
    1366: errors.InvalidDataError,  # incorrect value, or not in the column's character set
    1406: errors.InvalidDataError,  # too long
    1020: errors.SerializationFailureError,  # the row has changed, under innodb_snapshot_isolation
    1205: errors.LockTimeoutError,
    1213: errors.DeadlockError,
    3572: errors.LockTimeoutError,  # NOWAIT, MySQL
    1305: errors.RolledBackError,  # the savepoint is gone, and with it the transaction
    1317: errors.StatementTimeoutError,  # KILL QUERY
    1969: errors.StatementTimeoutError,  # max_statement_time, MariaDB
    3024: errors.StatementTimeoutError,  # max_execution_time, MySQL
    1290: errors.ReadOnlyError,  # the server runs with --read-only
    1792: errors.ReadOnlyError,
    1040: errors.DatabaseUnavailableError,  # too many connections
    1044: errors.DatabaseUnavailableError,  # the server refuses the user
    1045: errors.DatabaseUnavailableError,  # the server refuses the credentials
    1049: errors.DatabaseUnavailableError,  # the server has no such database
    1053: errors.DatabaseUnavailableError,  # shutting down
    1180: errors.DatabaseUnavailableError,  # an error during COMMIT
    1698: errors.DatabaseUnavailableError,  # the server refuses the credentials, MariaDB
    1927: errors.DatabaseUnavailableError,  # connection killed
    2002: errors.DatabaseUnavailableError,
    2003: errors.DatabaseUnavailableError,
    2006: errors.DatabaseUnavailableError,
    2013: errors.DatabaseUnavailableError,
}
_SENTENCES: Mapping[int, str] = {
    1040: "the database takes no more connections",
    1044: REFUSED,
    1045: REFUSED,
    1049: NO_DATABASE,
    1698: REFUSED,
}
_OUTCOME_UNKNOWN = frozenset({1180})  # an error during COMMIT, which the storage engine may have carried out
_FOREIGN_KEY = re.compile(r"`(?P<table>[^`]+)`, CONSTRAINT `(?P<constraint>[^`]+)` FOREIGN KEY \((?P<columns>[^)]+)\)")
_KEY = re.compile(r"for key '(?:(?P<table>[^'.]+)\.)?(?P<constraint>[^']+)'\s*$")
_COLUMN = re.compile(r"(?:Column|Field|column) [`'](?:[^']*`\.`)?(?P<columns>[^'`]+)[`']")
_CHECK = re.compile(r"(?:CONSTRAINT `|constraint ')(?P<constraint>[^`']+)[`'](?:.*`(?P<table>[^`]+)`)?")
_PATTERNS: Mapping[type[errors.LayeredError], re.Pattern[str]] = {
    errors.UniqueViolationError: _KEY,
    errors.ForeignKeyViolationError: _FOREIGN_KEY,
    errors.NotNullViolationError: _COLUMN,
    errors.CheckViolationError: _CHECK,
    errors.InvalidDataError: _COLUMN,
}


class MySQLDialect(DatabaseDialect):
    """MariaDB 10.5 and newer; MySQL 8 speaks the same protocol and is not tested."""

    async_driver: ClassVar[str] = "asyncmy"
    sync_driver: ClassVar[str] = "pymysql"
    async_only: ClassVar[frozenset[str]] = frozenset({"asyncmy", "aiomysql"})
    undoing_all: ClassVar[tuple[type[errors.LayeredError], ...]] = (
        errors.DeadlockError,
        errors.SerializationFailureError,
        errors.RolledBackError,
    )
    streams_alone: ClassVar[bool] = True
    seeks_by_row: ClassVar[bool] = False  # it takes no range of an index for a comparison of rows
    fixes_by_range: ClassVar[bool] = True
    parameter_limit: ClassVar[int] = 65_535
    counts_on_by_row: ClassVar[bool] = True
    upserts_by_any_key: ClassVar[bool] = True
    limits_statements: ClassVar[bool] = True
    extra: ClassVar[str] = "mysql"

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        # Under REPEATABLE READ, the server's default, a re-read after a duplicate key does not find the row.
        return {"isolation_level": "READ COMMITTED"}

    def configure(self, engine: Engine) -> None:
        event.listen(engine, "begin", _begin)
        event.listen(engine, "connect", _remember_server)
        event.listen(engine, "reset", _give_back_locks)
        event.listen(engine, "invalidate", partial(_stop_on_server, engine))

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        return {"connect_timeout": seconds}  # all drivers call it so

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        event.listen(engine, "connect", partial(_limit_statements, engine, seconds))

    def transaction_options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        options = dict(super().transaction_options(read_only=False, deferred=False, isolation_level=isolation_level))
        return options | {_READ_ONLY: True} if read_only else options

    def with_nulls_placed(
        self, expression: ColumnElement[Any], direction: ColumnElement[Any], *, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return two clauses: there is no NULLS FIRST here."""
        is_null = comparable(expression).is_(None)
        return (is_null.desc() if nulls_first else is_null.asc(), direction)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the values; of 4-byte floats, which are printed with 6 digits, as doubles.

        A column of an ENUM is sorted by number, of which no comparison is a range of an index; any other expression of its
        type is sorted by name.
        """
        stored = stored_type(expression.type, dialect)
        if isinstance(stored, CHAR) and "nopad" in (stored.collation or ""):
            raise TypeError(
                f"cursor pages cannot be sorted by {expression}: MariaDB sorts CHAR with the blanks that NOPAD compares without; "
                "make it a VARCHAR"
            )
        if isinstance(stored, ENUM | SET | BIT) and isinstance(bare(expression), Column):
            number = type_coerce(expression, _NUMBER)
            return replace(as_stored(expression, _NUMBER, read=number + 0), is_combinable=False)
        if isinstance(stored, Float):
            return as_stored(expression, _DOUBLE, read=cast(expression, _DOUBLE))
        if isinstance(stored, Numeric):
            return as_stored(expression, _DECIMAL)
        if isinstance(stored, Boolean | YEAR):
            return as_stored(expression, _NUMBER)
        if isinstance(stored, _READ_WHOLE):
            return as_stored(expression, _TEXT if isinstance(stored, Enum | SET) else stored)
        raise TypeError(
            f"cursor pages cannot be sorted by {expression}: what MariaDB sorts of its type cannot be compared"
        )

    def integers(self, column_type: Integer) -> range:
        return range(2**64) if getattr(column_type, "unsigned", False) else INT64

    def upsert(
        self,
        table: Table,
        on: Sequence[Column[Any]],
        changes: Callable[[Any], Mapping[Column[Any], Any]],
        condition: ColumnElement[bool] | None,
    ) -> Insert:
        """Return the statement; what has the same value in another unique key than *on* is left as it is."""
        statement = insert(table)
        has_key = and_(
            *(column == statement.inserted[column.key] for column in on), *([] if condition is None else [condition])
        )
        changed: dict[str, ColumnElement[Any]] = {
            column.key: case((has_key, value), else_=column) for column, value in changes(statement.inserted).items()
        }
        return statement.on_duplicate_key_update(changed or {on[0].key: on[0]})

    def upsert_rows(self, connection: Connection, statement: Insert, on: Sequence[Column[Any]], rows: Rows) -> None:
        """Execute it once for as many rows as it takes: the drivers' own way cannot bind values behind the rows."""
        size = max(1, self.parameter_limit // 2 // len(rows.table.c))  # half of them for what is behind the rows
        mappings = rows.mappings()
        for start in range(0, rows.size, size):
            connection.execute(statement.values(mappings[start : start + size]))

    def read(self, error: BaseException) -> Reading | None:
        errno = error.args[0] if error.args else None
        kind = _BY_ERRNO.get(errno) if isinstance(errno, int) else None
        if kind is None:
            return Reading(errors.InvalidDataError) if type(error).__name__ == "DataError" else None
        found = _PATTERNS[kind].search(str(error.args[1])) if kind in _PATTERNS else None
        facts = found.groupdict() if found else {}
        columns = tuple(name.strip(" `") for name in (facts.get("columns") or "").split(",") if name)
        sentence, is_unknown = _SENTENCES.get(error.args[0], ""), error.args[0] in _OUTCOME_UNKNOWN
        return Reading(kind, facts.get("constraint"), facts.get("table"), columns, sentence, is_unknown)

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Take a lock of *connection*'s session, which is given back when the pool gets the connection back.

        That is after the COMMIT, and whatever else ends the transaction; a connection that is lost loses its locks. A lock
        of the transaction would be given back by the first DDL, which commits.
        """
        label = lock_label(str(connection.engine.url.database), name)
        deadline = math.inf if timeout is None else clock.monotonic() + timeout
        while not connection.scalar(select(func.get_lock(label, max(0, min(10, deadline - clock.monotonic()))))):
            if clock.monotonic() >= deadline:
                raise errors.LockTimeoutError(f"another process has held the lock for more than {timeout:g} seconds")
        connection.info.setdefault(_LOCKS, []).append(label)

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")  # a table that refers to itself is deleted row by row
        try:
            super().empty(connection, tables)
        finally:
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        self.lock(connection, name, timeout)
        connection.rollback()
        return True

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        own_type = column_type.dialect_impl(dialect)
        digits: int = getattr(own_type, "fsp", None) or 0
        if isinstance(own_type, DateTime | Time) and digits < _MICROSECOND_DIGITS:
            return partial(_cut_off, digits=digits)
        return super().stored_form(column_type, dialect)

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        is_float = isinstance(column_type, Float) and not isinstance(column_type, Double)
        precision = column_type.precision if isinstance(column_type, Float) else None
        return (is_float and precision is None) or super().is_single_precision(column_type)


def _limit_statements(engine: Engine, seconds: float, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    is_mariadb = getattr(engine.dialect, "is_mariadb", False)
    # MySQL has a limit for SELECT alone.
    limit = f"max_statement_time = {seconds:f}" if is_mariadb else f"max_execution_time = {math.ceil(seconds * 1000)}"
    _answer(connection, f"SET SESSION {limit}")


def _give_back_locks(connection: DBAPIConnection, record: ConnectionPoolEntry, state: PoolResetState) -> None:
    labels = record.info.pop(_LOCKS, ())
    if record.driver_connection is None or state.terminate_only:
        return  # the server gives them back when it notices the end of the connection
    for label in labels:
        _answer(connection, f"SELECT RELEASE_LOCK('{label}')")  # our own letters and digits


def _cut_off(value: datetime | time, digits: int) -> datetime | time:
    """Leave out what a column with so many *digits* of a second cuts off."""
    unit = 10 ** (_MICROSECOND_DIGITS - digits)
    return value.replace(microsecond=value.microsecond // unit * unit)


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_READ_ONLY):
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _remember_server(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    record.info[_SERVER] = _answer(connection, "SELECT @@hostname, @@port")


def _stop_on_server(
    engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry, error: BaseException | None
) -> None:
    """Kill the server's side of a connection that is closed because a cancellation cut a statement off.

    The server would carry the statement on, and keep the locks of its transaction, until it has an answer to send.
    PostgreSQL's drivers tell their server themselves.
    """
    if error is None or isinstance(error, Exception):
        return
    driver_connection: Any = record.driver_connection
    try:
        other = engine.pool.recreate().connect()  # not from the pool itself, which may have none to give
        try:
            # Behind a load balancer this may be another server, where the number is somebody else's.
            if _answer(other, "SELECT @@hostname, @@port") == record.info.get(_SERVER):
                _answer(other, f"KILL {int(driver_connection.thread_id())}")
        finally:
            other.invalidate()
    except Exception:
        _logger.debug("a statement that was cut off could not be stopped on the server", exc_info=True)


def _answer(connection: Any, sql: str) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None
    finally:
        cursor.close()


@compiles(PrimaryKeyConstraint, "mysql", "mariadb")
def _without_name(constraint: PrimaryKeyConstraint, compiler: Any, **options: Any) -> str:
    """Leave out the name of a primary key, which the server would ignore, with a warning for each table."""
    ddl: str = compiler.visit_primary_key_constraint(constraint, **options)
    return re.sub(r"^CONSTRAINT .+? (?=PRIMARY KEY)", "", ddl)  # a quoted name may have blanks
