"""Connections to SQLite, through aiosqlite or the standard library's sqlite3, and the transactions on them."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolResetState, QueuePool

from layered_backend import errors
from layered_backend.dialects.portable import PortableConnections, PortableTransactions
from layered_backend.dialects.sqlite.foreign_keys import deferred_violation, refuse_unmet
from layered_backend.dialects.sqlite.opening import LockReleasingConnection, connect, remember_opened, stop_opened
from layered_backend.upstream import aiosqlite
from layered_backend.upstream.sqlalchemy.aiosqlite_adapter import SingleTripConnection

__all__ = ["SQLiteConnections", "SQLiteTransactions"]

_BUSY_TIMEOUT = 30  # seconds
_BEGIN = "layered_backend_sqlite_begin"
_QUERY_ONLY = "layered_backend_query_only"
_memory_numbers = itertools.count(1)


class SQLiteConnections(PortableConnections):
    """Connections with the settings under which concurrent writers lose nothing."""

    async_driver = "aiosqlite"
    sync_driver = "pysqlite"
    async_only: frozenset[str] = frozenset({"aiosqlite"})
    requirement = "layered-backend[sqlite]"

    def effective_url(self, url: URL) -> URL:
        """Return *url*; an in-memory database becomes one that survives the loss of its pooled connection.

        Raises:
            ValueError: It names a host.
        """
        if url.host:
            raise ValueError(
                "a SQLite URL has no host: write three slashes before the path of the file, as in sqlite:///shop.db, and "
                "four before one that begins at the root"
            )
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
        if engine.dialect.driver == self.async_driver:
            aiosqlite.verify()
            event.listen(engine, "do_connect", connect)
            event.listen(engine, "connect", partial(remember_opened, engine))
        event.listen(engine, "begin", _begin)
        event.listen(engine, "reset", _reset)

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        """Return nothing: SQLite opens a file and waits for nobody."""
        return {}

    def abandon(self, engine: Engine) -> None:
        stop_opened(engine)
        super().abandon(engine)

    def autocommit_options(self) -> Mapping[str, Any]:
        return {**super().autocommit_options(), "execution_options": {_BEGIN: None}}


class SQLiteTransactions(PortableTransactions):
    """Transactions of the one writer that SQLite has, which begin with the write lock.

    Through our adapter of aiosqlite, BEGIN is sent with the first statement, and the end of one that has only read is not
    waited for. Through every other, both are statements that are waited for.
    """

    has_one_writer = True
    answers_every_commit = True

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        # Every transaction of SQLite is serializable, whatever weaker level is asked for.
        if isolation_level == "AUTOCOMMIT":
            return {_BEGIN: None}
        return {_BEGIN: "DEFERRED" if deferred or read_only else "IMMEDIATE", _QUERY_ONLY: read_only}

    def commits_each_statement(self, connection: Connection) -> bool:
        """Tell whether nothing sends BEGIN; the driver itself is always in autocommit."""
        options = connection.get_execution_options()
        is_autocommit = str(options.get("isolation_level")).upper() == "AUTOCOMMIT"
        return is_autocommit or options.get(_BEGIN, "IMMEDIATE") is None

    def awaits_end(self, connection: Connection) -> bool:
        adapted = connection.connection.dbapi_connection
        return not (isinstance(adapted, SingleTripConnection) and adapted.only_reads)

    def has_refused_to_begin(self, connection: Connection) -> bool:
        if connection.invalidated:
            return False
        adapted = connection.connection.dbapi_connection
        return isinstance(adapted, SingleTripConnection) and bool(adapted.due)

    def has_ended(self, connection: Connection) -> bool:
        """Tell whether ON CONFLICT ROLLBACK, or a trigger's RAISE(ROLLBACK), has left the connection in autocommit."""
        driver_connection: Any = connection.connection.driver_connection
        return driver_connection is not None and not driver_connection.in_transaction

    def check_at_commit(self, connection: Any) -> None:
        """Look for a row that refers to nothing, where a foreign key can be deferred."""
        refuse_unmet(connection)

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
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = OFF")
    cursor.close()
