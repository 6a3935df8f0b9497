"""PostgreSQL, through asyncpg or psycopg."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Insert,
    Select,
    Table,
    cast,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import (
    CHAR,
    BigInteger,
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
    SmallInteger,
    String,
    Text,
    Time,
    TypeEngine,
    Uuid,
)

from layered_backend import errors
from layered_backend.dialects.arrays import inserted_from_arrays, upserted_from_arrays
from layered_backend.dialects.base import INT64, NO_DATABASE, REFUSED, DatabaseDialect, Reading
from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.connecting import opened
from layered_backend.dialects.given_keys import GivenKeys, given_as_arrays
from layered_backend.dialects.late_begin import begin_late, has_begun, reading_alone
from layered_backend.dialects.lock_names import lock_number
from layered_backend.dialects.postgresql_sequences import advance
from layered_backend.dialects.rows import Rows
from layered_backend.dialects.sort_forms import SortForm, as_stored, comparable, parameter, stored_type
from layered_backend.dialects.tuples import upsert_each

__all__ = ["PostgreSQLDialect"]

INT32 = range(-(2**31), 2**31)
INT16 = range(-(2**15), 2**15)

_READ_WHOLE = (Boolean, Date, DateTime, Integer, LargeBinary, NullType, Time, Uuid)
_FLOATS, _VARYING = ("FLOAT", "REAL", "DOUBLE PRECISION"), ("VARCHAR", "TEXT")
_NAMED = (Float, Numeric, String)
_DECIMAL, _TEXT = Numeric(), Text()
_DOUBLE: Double[float] = Double()

_TIME_LIMITS: Sequence[str] = ("lock_timeout", "statement_timeout")
_CHECKING = (
    "SAVEPOINT layered_check",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "ROLLBACK TO SAVEPOINT layered_check",
    "RELEASE SAVEPOINT layered_check",
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: Mapping[str, type[errors.LayeredError]] = {
    "23505": errors.UniqueViolationError,
    "23503": errors.ForeignKeyViolationError,
    "23001": errors.ForeignKeyViolationError,  # ON DELETE RESTRICT, from PostgreSQL 18
    "23502": errors.NotNullViolationError,
    "23514": errors.CheckViolationError,
    "23P01": errors.ConflictError,  # an exclusion constraint
    "25006": errors.ReadOnlyError,
    "25P02": errors.RolledBackError,
    "40001": errors.SerializationFailureError,
    "40P01": errors.DeadlockError,
    "55P03": errors.LockTimeoutError,
    "57014": errors.StatementTimeoutError,
    "57P01": errors.DatabaseUnavailableError,  # shut down by an administrator
    "57P02": errors.DatabaseUnavailableError,  # crashed
    "57P03": errors.DatabaseUnavailableError,  # starting up
    "53300": errors.DatabaseUnavailableError,  # too many connections
}
_BY_CLASS: Mapping[str, type[errors.LayeredError]] = {
    "08": errors.DatabaseUnavailableError,
    "22": errors.InvalidDataError,
    "28": errors.DatabaseUnavailableError,  # the server refuses the credentials
    "3D": errors.DatabaseUnavailableError,  # the server has no such database
}
_SENTENCES: Mapping[str, str] = {
    "28000": REFUSED,
    "28P01": REFUSED,
    "3D000": NO_DATABASE,
    "53300": "the database takes no more connections",
}
# libpq, and so psycopg, hands on no SQLSTATE from a connection that did not come about, only what the server wrote.
_REFUSALS: Mapping[re.Pattern[str], str] = {
    re.compile(r"FATAL:  (role \".*\" does not exist|password authentication failed|no pg_hba\.conf entry)"): REFUSED,
    re.compile(r"fe_sendauth: no password supplied"): REFUSED,
    re.compile(r"FATAL:  database \".*\" does not exist"): NO_DATABASE,
}
_PAUSE = 0.1  # seconds between two requests for a lock
_logger = logging.getLogger("layered_backend")
_NOTICE_LOST_CLIENT = (
    "SELECT set_config(name, '1000', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"
)
# Nothing may be kept on a server's connection that is another one at the next transaction. Of asyncpg's two caches, the
# driver's own would leave named statements there; SQLAlchemy's would read rows by columns that have changed since.
_BEHIND_PGBOUNCER: Mapping[str, Mapping[str, Any]] = {
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    "psycopg": {"prepare_threshold": None},
    "psycopg_async": {"prepare_threshold": None},
}
_PSYCOPG = frozenset({"psycopg", "psycopg_async"})
_DETAIL_KEY = re.compile(r"\((?P<columns>.+?)\)=\(")  # Key (a, b)=(1, 2) already exists; in every language


class PostgreSQLDialect(DatabaseDialect):
    """PostgreSQL 12 and newer."""

    async_driver: ClassVar[str] = "asyncpg"
    sync_driver: ClassVar[str] = "psycopg"
    async_only: ClassVar[frozenset[str]] = frozenset({"asyncpg"})
    nulls_are_greatest: ClassVar[bool] = True
    sorts_by_fixed_nulls: ClassVar[bool] = True
    parameter_limit: ClassVar[int] = 32_767  # of asyncpg; psycopg takes twice as many
    limits_statements: ClassVar[bool] = True
    extra: ClassVar[str] = "postgresql"

    def configure(self, engine: Engine) -> None:
        if engine.dialect.driver == "asyncpg":
            event.listen(engine, "do_connect", _choose_connect)
            begin_late(engine)
        event.listen(engine, "connect", _let_server_notice_a_lost_client)

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        driver = url.get_driver_name()
        if driver not in _BEHIND_PGBOUNCER:
            raise ValueError(f"pgbouncer=True knows the drivers asyncpg and psycopg, not {driver}")
        return _BEHIND_PGBOUNCER[driver]

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        driver = url.get_driver_name()
        if driver == "asyncpg":
            return {"timeout": seconds}
        if driver in _PSYCOPG:
            return {"connect_timeout": math.ceil(seconds)}  # whole seconds, of which libpq takes 2 at least
        raise ValueError(f"connect_timeout= knows the drivers asyncpg and psycopg, not {driver}")

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        """Say the limit with the connection's first message, which costs no round trip, and which RESET goes back to."""
        event.listen(engine, "do_connect", partial(_limit_statements, max(1, round(seconds * 1000))))

    def transaction_options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        options = dict(super().transaction_options(read_only=False, deferred=False, isolation_level=isolation_level))
        return options | {"postgresql_readonly": True} if read_only else options

    def reading_alone(self, engine: Engine) -> Engine | None:
        return reading_alone(engine) if engine.dialect.driver == "asyncpg" else None

    def awaits_end(self, connection: Connection) -> bool:
        return connection.dialect.driver != "asyncpg" or has_begun(connection)

    def upsert(
        self,
        table: Table,
        on: Sequence[Column[Any]],
        changes: Callable[[Any], Mapping[Column[Any], Any]],
        condition: ColumnElement[bool] | None,
    ) -> Insert:
        return on_conflict(insert(table), on, changes, condition)

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        if rows.size == 1 or not inserted_from_arrays(connection, rows):
            connection.execute(insert(rows.table), rows.mappings())

    def upsert_rows(self, connection: Connection, statement: Insert, on: Sequence[Column[Any]], rows: Rows) -> None:
        if rows.size == 1 or not upserted_from_arrays(connection, statement, on, rows):
            upsert_each(connection, statement, rows)

    def given_keys(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        return given_as_arrays(key)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the values, of doubles and decimals as they are, and of what is read otherwise as text.

        Python has no months in an interval, CHAR is not compared as VARCHAR is, and psycopg reads 4-byte floats as they
        are printed. As text, every type gives back all that it got.
        """
        stored = stored_type(expression.type, dialect)
        # By class, a float is a Numeric with psycopg and SQLAlchemy 2.0, and CHAR any String with psycopg.
        ddl = dialect.type_compiler_instance.process(expression.type) if isinstance(stored, _NAMED) else ""
        if ddl.startswith(_FLOATS):
            return as_stored(expression, _DOUBLE, read=cast(expression, _DOUBLE))
        if isinstance(stored, Numeric):  # without a precision, which would round what an expression of the column gives
            return as_stored(expression, _DECIMAL)
        if isinstance(stored, _READ_WHOLE) or ddl.startswith(_VARYING):
            return as_stored(expression, String() if isinstance(stored, Enum) else stored)
        column_type = (
            CHAR(stored.length) if isinstance(stored, String) and ddl.startswith("CHAR") else expression.type
        )  # CAST takes no collation
        return SortForm(
            comparable(expression),
            cast(expression, _TEXT),
            lambda value: cast(parameter(value, _TEXT), column_type),
        )

    def read(self, error: BaseException) -> Reading | None:
        sqlstate = getattr(error, "sqlstate", None)
        if not sqlstate:
            return self._read_client_side(error)
        kind = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
        if kind is None:
            return None
        facts = _Facts(error)
        sentence = _SENTENCES.get(sqlstate, "")
        return Reading(kind, facts["constraint_name"], facts["table_name"], facts.columns, sentence)

    def _read_client_side(self, error: BaseException) -> Reading | None:
        """Read an error that a driver raised itself, about a statement that the server did not see."""
        if type(error).__name__ == "InternalClientError":  # asyncpg was told of its connection's end in mid-answer
            return Reading(errors.DatabaseUnavailableError)
        refusal = next((sentence for pattern, sentence in _REFUSALS.items() if pattern.search(str(error))), None)
        if refusal is not None:
            return Reading(errors.DatabaseUnavailableError, sentence=refusal)
        is_bad_value = type(error).__name__ == "DataError" or "cannot adapt type" in str(error)
        return Reading(errors.InvalidDataError) if is_bad_value else None

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        return super().holds(column_type, value) and not (isinstance(value, str) and "\x00" in value)

    def integers(self, column_type: Integer) -> range:
        if isinstance(column_type, BigInteger):
            return INT64
        return INT16 if isinstance(column_type, SmallInteger) else INT32

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Take an advisory lock, whatever time limits the server sets.

        One of the transaction, not of the session: behind PgBouncer the session is another one at the next statement.
        Rolling back to a savepoint gives back what was locked after it.
        """
        limits = connection.execute(select(*(func.current_setting(name) for name in _TIME_LIMITS))).one()
        before: dict[str, Any] = dict(zip(_TIME_LIMITS, limits, strict=True))
        patience = 0 if timeout is None else max(1, round(timeout * 1000))  # ms; 0 is no limit
        _set_for_transaction(connection, {"lock_timeout": f"{patience}ms", "statement_timeout": "0"})
        connection.execute(select(func.pg_advisory_xact_lock(lock_number(name))))
        _set_for_transaction(connection, before)

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        """Ask for an advisory lock of the session until it is given; the thread sleeps in between.

        A connection that waited in a statement would have a snapshot meanwhile, which CREATE INDEX CONCURRENTLY waits
        for: the two would wait for each other.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        asked_for = select(func.pg_try_advisory_lock(lock_number(name)))
        while not _answer_alone(connection, asked_for):
            if time.monotonic() >= deadline:
                raise errors.LockTimeoutError(f"another process has held the lock for more than {timeout:g} seconds")
            time.sleep(_PAUSE)
        return True

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:
        if any(constraint.deferrable for table in tables for constraint in table.constraints):
            connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))  # nothing says which ones were; all are checked

    def check_at_commit(self, connection: Any) -> None:
        """Check the deferred constraints, and have them deferred again: rolling back to the savepoint does that."""
        cursor = connection.cursor()
        try:
            for statement in _CHECKING:
                cursor.execute(statement)
        finally:
            cursor.close()

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        if tables:
            names = map(connection.dialect.identifier_preparer.format_table, tables)
            connection.execute(text(f"TRUNCATE {', '.join(names)}"))

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:
        advance(connection, column, value)

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        return _without_blanks if isinstance(column_type, CHAR) else super().stored_form(column_type, dialect)


def _answer_alone(connection: Connection, statement: Select[Any]) -> Any:
    """Return what *statement* selects, in a transaction of its own."""
    answer = connection.scalar(statement)
    connection.rollback()
    return answer


def _set_for_transaction(connection: Connection, settings: Mapping[str, Any]) -> None:
    connection.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def _without_blanks(value: str) -> str:
    """Leave out the blanks at the end, which CHAR adds and ignores."""
    return value.rstrip(" ")


def _choose_connect(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> None:
    options.setdefault("async_creator_fn", partial(_connect, dialect))


def _limit_statements(
    milliseconds: int, dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]
) -> None:
    """Add the limit to what the URL and the caller say of the session, which comes behind it and so has the last word."""
    if dialect.driver == "asyncpg":
        theirs: Mapping[str, str] = options.get("server_settings") or {}
        options["server_settings"] = {"statement_timeout": str(milliseconds), **theirs}
    else:
        # libpq reads PGOPTIONS where no options are given.
        said = options.get("options") or os.environ.get("PGOPTIONS", "")
        options["options"] = f"-c statement_timeout={milliseconds} {said}".strip()


async def _connect(dialect: Dialect, *args: Any, **options: Any) -> Any:
    asyncpg: Any = import_module("asyncpg")
    return await opened(dialect, asyncpg.connect(*args, **options), lambda connection: connection.terminate())


def _let_server_notice_a_lost_client(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Have the server look every second, from PostgreSQL 14 on, whether the client of a running statement is there.

    A cancellation that overtakes its statement stops nothing: the server would carry the statement on, and keep the
    locks of its transaction, for a connection that has been closed.
    """
    adapted: Any = connection
    before = adapted.autocommit
    adapted.autocommit = True
    cursor = connection.cursor()
    try:
        cursor.execute(_NOTICE_LOST_CLIENT)
    except Exception:  # a server on a system that cannot tell
        _logger.debug("the server will not notice a lost client", exc_info=True)
    finally:
        cursor.close()
        adapted.autocommit = before


class _Facts:
    """The fields of an error report, which asyncpg keeps on its own exception and psycopg on `diag`."""

    def __init__(self, error: BaseException) -> None:
        self._source = getattr(error, "diag", None) or error.__cause__ or error

    def __getitem__(self, name: str) -> str | None:
        return getattr(self._source, name, None)

    @property
    def columns(self) -> tuple[str, ...]:
        column = self["column_name"]
        if column:
            return (column,)
        detail = self["detail"] or self["message_detail"] or ""
        key = _DETAIL_KEY.search(detail)
        if key is None or "(" in key["columns"] or f'"{self["table_name"]}"' in detail:
            return ()  # an expression, or the columns that another table refers to
        return tuple(name.strip(' "') for name in key["columns"].split(","))
