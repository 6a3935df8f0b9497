"""Connections to MariaDB and MySQL, through asyncmy or PyMySQL, and the transactions on them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any, cast

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend import errors
from layered_backend.dialects.connecting import refuse_unknown_arguments
from layered_backend.dialects.mysql.locks import answer, give_back_locks
from layered_backend.dialects.portable import PortableConnections, PortableTransactions
from layered_backend.upstream.connecting import connect_uninterrupted, finished
from layered_backend.upstream.sqlalchemy.concurrency import await_in_greenlet, run_in_greenlet

__all__ = ["MySQLConnections", "MySQLTransactions"]

_logger = logging.getLogger("layered_backend")
_SERVER = "layered_backend_server"
_STOPPING = 5.0  # seconds; a server that does not answer holds up no task that was cancelled
_READ_ONLY = "layered_backend_read_only"
_SCALARS = frozenset({type(None), bool, int, float, str, bytes, Decimal, date, datetime})


class MySQLConnections(PortableConnections):
    """Connections under READ COMMITTED, whose statements are stopped when they are cut off."""

    async_driver = "asyncmy"
    sync_driver = "pymysql"
    async_only: frozenset[str] = frozenset({"asyncmy", "aiomysql"})
    requirement = "layered-backend[mysql]"
    has_statement_timeout = True

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        # Under REPEATABLE READ, the server's default, a re-read after a duplicate key does not find the row.
        return {"isolation_level": "READ COMMITTED"}

    def configure(self, engine: Engine) -> None:
        if engine.dialect.driver in {self.sync_driver, self.async_driver}:
            refuse_unknown_arguments(engine, import_module(engine.dialect.driver).connect)
        if engine.dialect.driver in self.async_only:
            event.listen(engine, "do_connect", _connect_uninterrupted)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", _refuse_mappings)
        event.listen(engine, "connect", _remember_server)
        event.listen(engine, "reset", give_back_locks)
        event.listen(engine, "invalidate", partial(_stop_on_server, engine))

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        return {"connect_timeout": seconds}  # all drivers call it so

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        event.listen(engine, "connect", partial(_limit_statements, engine, seconds))


class MySQLTransactions(PortableTransactions):
    """Transactions that an error can undo, all savepoints included."""

    undoing_all: tuple[type[errors.LayeredError], ...] = (
        errors.DeadlockError,
        errors.SerializationFailureError,
        errors.RolledBackError,
    )
    streams_alone = True

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        options = dict(super().options(read_only=False, deferred=False, isolation_level=isolation_level))
        return options | {_READ_ONLY: True} if read_only else options


def _limit_statements(engine: Engine, seconds: float, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    is_mariadb = getattr(engine.dialect, "is_mariadb", False)
    # MySQL has a limit for SELECT alone.
    limit = f"max_statement_time = {seconds:f}" if is_mariadb else f"max_execution_time = {math.ceil(seconds * 1000)}"
    answer(connection, f"SET SESSION {limit}")


def _connect_uninterrupted(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> None:
    driver: Any = import_module(dialect.driver)
    connect_uninterrupted(dialect, options, driver.connect, lambda connection: connection.close())


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_READ_ONLY):
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _refuse_mappings(*execution: Any) -> None:
    """Refuse a mapping as a value: the drivers would write its keys into the statement as they are.

    A column's own type may let one through.
    """
    parameters: Any = execution[3]
    is_many = issubclass(type(parameters), list)
    values = chain.from_iterable(map(_values_of, parameters if is_many else [parameters or ()]))
    if any(type(value) not in _SCALARS and _holds_mapping(value) for value in values):
        raise errors.InvalidDataError("a mapping is no value of a column; its type has to make text of it")


def _values_of(row: Any) -> Iterable[Any]:
    by_name: Callable[[], Iterable[Any]] | None = getattr(row, "values", None)
    values: Iterable[Any] = row if by_name is None else by_name()
    return values


def _holds_mapping(value: object) -> bool:
    items = cast("Iterable[object]", value) if isinstance(value, (list, tuple, set)) else ()
    return isinstance(value, Mapping) or any(map(_holds_mapping, items))


def _remember_server(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    record.info[_SERVER] = answer(connection, "SELECT @@hostname, @@port")


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
    with _failure_logged():
        number = int(driver_connection.thread_id())
        if not engine.dialect.is_async:
            _kill(engine, record, number)
            return
        # Of a second cancellation: *error* is raised anyway, once the pool has closed the connection.
        with suppress(asyncio.CancelledError):
            await_in_greenlet(finished(engine.dialect, _kill_in_time(engine, record, number)))


@contextmanager
def _failure_logged() -> Generator[None]:
    try:
        yield
    except Exception:
        _logger.debug("a statement that was cut off could not be stopped on the server", exc_info=True)


async def _kill_in_time(engine: Engine, record: ConnectionPoolEntry, number: int) -> None:
    with _failure_logged():
        async with asyncio.timeout(_STOPPING):
            await run_in_greenlet(_kill, engine, record, number)


def _kill(engine: Engine, record: ConnectionPoolEntry, number: int) -> None:
    other = engine.pool.recreate().connect()  # not from the pool itself, which may have none to give
    try:
        # Behind a load balancer this may be another server, where the number is somebody else's.
        if answer(other, "SELECT @@hostname, @@port") == record.info.get(_SERVER):
            answer(other, f"KILL {number}")
    finally:
        other.invalidate()
