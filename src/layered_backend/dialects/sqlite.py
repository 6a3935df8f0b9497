"""SQLite, through aiosqlite or the standard library's sqlite3."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
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
    Table,
    event,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolResetState, QueuePool
from sqlalchemy.types import Enum, Integer, String, TypeEngine

from layered_backend import errors
from layered_backend.dialects.base import NO_FILE, DatabaseDialect, Reading
from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.given_keys import GivenKeys, given_as_json
from layered_backend.dialects.single_trip import SingleTripConnection
from layered_backend.dialects.sort_forms import AsDriven, SortForm, as_stored, bare
from layered_backend.dialects.sqlite_connections import (
    LockReleasingConnection,
    connect_and_leave_nothing,
    remember_opened,
    stop_opened,
)
from layered_backend.dialects.sqlite_foreign_keys import column_keys, deferred_violation, refuse_unmet, violated_key

__all__ = ["SQLiteDialect"]

_BUSY_TIMEOUT = 30  # seconds
_BEGIN = "layered_backend_sqlite_begin"
_QUERY_ONLY = "layered_backend_query_only"

# https://www.sqlite.org/rescode.html
_BY_NAME: Mapping[str, type[errors.LayeredError]] = {
    "SQLITE_CONSTRAINT_UNIQUE": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_PRIMARYKEY": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_ROWID": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_NOTNULL": errors.NotNullViolationError,
    "SQLITE_CONSTRAINT_CHECK": errors.CheckViolationError,
    "SQLITE_CONSTRAINT_DATATYPE": errors.InvalidDataError,
    "SQLITE_MISMATCH": errors.InvalidDataError,
    "SQLITE_TOOBIG": errors.InvalidDataError,
    "SQLITE_READONLY": errors.ReadOnlyError,
    "SQLITE_BUSY": errors.LockTimeoutError,
    "SQLITE_BUSY_RECOVERY": errors.LockTimeoutError,
    "SQLITE_BUSY_SNAPSHOT": errors.SerializationFailureError,
    "SQLITE_LOCKED": errors.LockTimeoutError,
    "SQLITE_LOCKED_SHAREDCACHE": errors.LockTimeoutError,
    "SQLITE_CANTOPEN": errors.DatabaseUnavailableError,
    "SQLITE_CANTOPEN_ISDIR": errors.DatabaseUnavailableError,
    "SQLITE_FULL": errors.DatabaseUnavailableError,
}
_BY_MESSAGE: Mapping[str, Reading] = {
    "unable to open database file": Reading(errors.DatabaseUnavailableError, sentence=NO_FILE),
    "Error binding parameter": Reading(errors.InvalidDataError),
    # It comes under two names, one of which is every trigger's.
    "FOREIGN KEY constraint failed": Reading(errors.ForeignKeyViolationError),
}
_DRIVEN = AsDriven()
_memory_numbers = itertools.count(1)


class SQLiteDialect(DatabaseDialect):
    """SQLite 3.35 and newer, with the settings under which concurrent writers lose nothing."""

    async_driver: ClassVar[str] = "aiosqlite"
    sync_driver: ClassVar[str] = "pysqlite"
    async_only: ClassVar[frozenset[str]] = frozenset({"aiosqlite"})
    has_one_writer: ClassVar[bool] = True
    seeks_past_ties: ClassVar[bool] = False
    answers_every_commit: ClassVar[bool] = True
    extra: ClassVar[str] = "sqlite"

    def effective_url(self, url: URL) -> URL:
        """Return *url*; an in-memory database becomes one that survives the loss of its pooled connection."""
        if url.database not in {None, "", ":memory:", "file::memory:"}:
            return url
        return url.set(database=f"file:layered_backend_{next(_memory_numbers)}").update_query_dict(
            {"mode": "memory", "cache": "shared", "uri": "true"}
        )

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        # The driver's own BEGIN comes late and is deferred: two read-modify-writes then overwrite each other.
        connect_args = {
            "isolation_level": None,
            "timeout": _BUSY_TIMEOUT,
            "check_same_thread": False,
            "factory": LockReleasingConnection,
        }
        options: dict[str, Any] = {"connect_args": connect_args}
        if self.is_in_memory(url):
            # One connection, lent to one unit of work at a time: SQLite does not wait for a lock in a shared cache.
            pool = AsyncAdaptedQueuePool if asynchronous else QueuePool
            options |= {"poolclass": pool, "pool_size": 1, "max_overflow": 0}
        return options

    def is_in_memory(self, url: URL) -> bool:
        return url.query.get("mode") == "memory"

    def keep_alive(self, url: URL) -> sqlite3.Connection | None:
        """Return a connection that is never used: an in-memory database lives while one is open."""
        if not self.is_in_memory(url):
            return None
        return sqlite3.connect(f"{url.database}?mode=memory&cache=shared", uri=True, check_same_thread=False)

    def configure(self, engine: Engine) -> None:
        event.listen(engine, "connect", _set_up_connection)
        if engine.dialect.is_async:
            event.listen(engine, "do_connect", connect_and_leave_nothing)
            event.listen(engine, "connect", partial(remember_opened, engine))
        event.listen(engine, "begin", _begin)
        event.listen(engine, "reset", _reset)

    def abandon(self, engine: Engine) -> None:
        stop_opened(engine)
        super().abandon(engine)

    def transaction_options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        # Every transaction of SQLite is serializable, whatever weaker level is asked for.
        if isolation_level == "AUTOCOMMIT":
            return {_BEGIN: None}
        return {_BEGIN: "DEFERRED" if deferred or read_only else "IMMEDIATE", _QUERY_ONLY: read_only}

    def autocommit_options(self) -> Mapping[str, Any]:
        return {**super().autocommit_options(), "execution_options": {_BEGIN: None}}

    def upsert(
        self,
        table: Table,
        on: Sequence[Column[Any]],
        changes: Callable[[Any], Mapping[Column[Any], Any]],
        condition: ColumnElement[bool] | None,
    ) -> Insert:
        return on_conflict(insert(table), on, changes, condition)

    def has_ended_transaction(self, connection: Connection) -> bool:
        """Tell whether ON CONFLICT ROLLBACK, or a trigger's RAISE(ROLLBACK), has left the connection in autocommit."""
        driver_connection: Any = connection.connection.driver_connection
        return driver_connection is not None and not driver_connection.in_transaction

    def awaits_end(self, connection: Connection) -> bool:
        adapted = connection.connection.dbapi_connection
        return not (isinstance(adapted, SingleTripConnection) and adapted.only_reads)

    def has_refused_to_begin(self, connection: Connection) -> bool:
        if connection.invalidated:
            return False
        adapted = connection.connection.dbapi_connection
        return isinstance(adapted, SingleTripConnection) and bool(adapted.due)

    def given_keys(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        return given_as_json(key)

    def check_at_commit(self, connection: Any) -> None:
        """Look for a row that refers to nothing, where a foreign key can be deferred."""
        refuse_unmet(connection)

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")  # until the end of the transaction
        super().empty(connection, tables)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the five storage classes, which the driver reads and writes as they are.

        SQLAlchemy reads a double as a Decimal of ten digits, and any text that a column may have as what it should be.
        """
        is_read_whole = isinstance(expression.type, Integer | String) and not isinstance(expression.type, Enum)
        form = as_stored(expression, expression.type if is_read_whole else _DRIVEN)
        return replace(form, is_combinable=False) if _is_row_id(bare(expression)) else form

    def read(self, error: BaseException) -> Reading | None:
        message = str(error)
        reading = next((reading for text, reading in _BY_MESSAGE.items() if text in message), None)
        kind = _BY_NAME.get(getattr(error, "sqlite_errorname", ""))
        if reading is not None or kind is None:
            return reading
        _, _, subject = message.partition("failed: ")
        if kind is errors.CheckViolationError:
            return Reading(kind, constraint=subject if subject.isidentifier() else None)  # else it is the rule itself
        if kind in {errors.UniqueViolationError, errors.NotNullViolationError}:
            return _read_columns(kind, subject)
        return Reading(kind)

    def probe(self, context: ExceptionContext, reading: Reading) -> Reading:
        """Find the foreign key that failed: SQLite itself names none."""
        if reading.error is not errors.ForeignKeyViolationError or context.connection is None:
            return reading
        if context.execution_context is None:
            return deferred_violation(context.connection) or reading
        key = violated_key(context)
        if key is None:
            return reading
        return Reading(reading.error, None, key.table.name, column_keys(key))

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Do nothing: the transaction took the database's write lock when it began, and waited for the busy timeout."""

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:
        for table in tables:
            if any(key.initially for key in table.foreign_key_constraints):
                violation = deferred_violation(connection, table)
                if violation is not None:
                    raise errors.ForeignKeyViolationError(
                        constraint=violation.constraint,
                        table=violation.table,
                        columns=violation.columns,
                        is_referred_to=False,
                    )

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        return False


def _is_row_id(expression: ColumnElement[Any]) -> bool:
    """Tell whether SQLite takes the column for the row's number, which it does not seek by in a comparison of rows."""
    if not (isinstance(expression, Column) and isinstance(expression.type, Integer) and expression.primary_key):
        return False
    return len(expression.table.primary_key.columns) == 1


def _set_up_connection(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA case_sensitive_like = ON")  # LIKE is so elsewhere, and so is `=` here
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() == ("delete",):
            _turn_on_write_ahead_log(cursor)
    finally:
        cursor.close()


def _turn_on_write_ahead_log(cursor: Any) -> None:
    """Turn on the write-ahead log, which the file then keeps.

    SQLite does not wait for its busy timeout here when another process is doing the same, so we do.
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname == "SQLITE_READONLY":
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    kind = options.get(_BEGIN, "IMMEDIATE")
    if kind is None:  # each statement is a transaction of its own
        return
    statements = [f"BEGIN {kind}"]
    if options.get(_QUERY_ONLY):
        statements.append("PRAGMA query_only = ON")
        connection.info[_QUERY_ONLY] = True
    adapted = connection.connection.dbapi_connection
    if isinstance(adapted, SingleTripConnection):
        adapted.begin(statements)
        return
    for statement in statements:
        connection.exec_driver_sql(statement)


def _reset(connection: DBAPIConnection, record: ConnectionPoolEntry, state: PoolResetState) -> None:
    """Leave nothing behind for the next user of a pooled connection.

    A COMMIT that fails (a deferred foreign key) leaves SQLite's transaction open, while SQLAlchemy takes it for ended.
    """
    driver_connection: Any = record.driver_connection
    if driver_connection is None or state.terminate_only:
        return
    if driver_connection.in_transaction:
        connection.rollback()
    if not record.info.pop(_QUERY_ONLY, False):
        return
    if isinstance(connection, SingleTripConnection):
        connection.leave(_allow_writing)
    else:
        _allow_writing(connection)


def _allow_writing(connection: Any) -> None:
    connection.cursor().execute("PRAGMA query_only = OFF").close()


def _read_columns(kind: type[errors.LayeredError], subject: str) -> Reading:
    """Read `items.a, items.b`, or `index 'name'` for a unique index on an expression."""
    if subject.startswith("index "):
        return Reading(kind, constraint=subject.removeprefix("index ").strip("'"))
    pairs = [name.rsplit(".", 1) for name in subject.split(", ")]
    return Reading(kind, table=pairs[0][0], columns=tuple(pair[-1] for pair in pairs))
