"""Connections to PostgreSQL, through asyncpg or psycopg, and the transactions on them."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Table, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend.dialects.connecting import refuse_unknown_arguments
from layered_backend.dialects.portable import PortableConnections, PortableTransactions
from layered_backend.upstream import asyncpg
from layered_backend.upstream.connecting import connect_uninterrupted

__all__ = ["PostgreSQLConnections", "PostgreSQLTransactions"]

_ASYNCPG = "asyncpg"
_PSYCOPG = frozenset({"psycopg", "psycopg_async"})
_CHECKING = (
    "SAVEPOINT layered_check",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "ROLLBACK TO SAVEPOINT layered_check",
    "RELEASE SAVEPOINT layered_check",
)
_OF_SQLALCHEMY = ("async_fallback", "prepared_statement_cache_size", "prepared_statement_name_func")
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


class PostgreSQLConnections(PortableConnections):
    """Connections that the server gives up soon after their client is lost."""

    async_driver = "asyncpg"
    sync_driver = "psycopg"
    async_only: frozenset[str] = frozenset({"asyncpg", "psycopg_async"})
    requirement = "layered-backend[postgresql]"
    has_statement_timeout = True

    def configure(self, engine: Engine) -> None:
        if engine.dialect.driver == _ASYNCPG:
            asyncpg.verify()
            refuse_unknown_arguments(engine, import_module(_ASYNCPG).connect, *_OF_SQLALCHEMY)
        elif engine.dialect.driver in _PSYCOPG:
            psycopg: Any = import_module("psycopg")
            libpqs = (option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())
            refuse_unknown_arguments(engine, psycopg.connect, *libpqs)
        if engine.dialect.is_async:
            event.listen(engine, "do_connect", _connect_uninterrupted)
        event.listen(engine, "connect", _let_server_notice_a_lost_client)

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        driver = url.get_driver_name()
        if driver not in _BEHIND_PGBOUNCER:
            raise ValueError(f"pgbouncer=True knows the drivers asyncpg and psycopg, not {driver}")
        return _BEHIND_PGBOUNCER[driver]

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        driver = url.get_driver_name()
        if driver == _ASYNCPG:
            return {"timeout": seconds}
        if driver in _PSYCOPG:
            return {"connect_timeout": math.ceil(seconds)}  # whole seconds, of which libpq takes 2 at least
        raise ValueError(f"connect_timeout= knows the drivers asyncpg and psycopg, not {driver}")

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        """Say the limit with the connection's first message, which costs no round trip, and which RESET goes back to."""
        event.listen(engine, "do_connect", partial(_limit_statements, max(1, round(seconds * 1000))))


class PostgreSQLTransactions(PortableTransactions):
    """Transactions that can be read-only, and check deferred constraints when they are asked to."""

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        options = dict(super().options(read_only=False, deferred=False, isolation_level=isolation_level))
        return options | {"postgresql_readonly": True} if read_only else options

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


def _connect_uninterrupted(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> None:
    if dialect.driver == _ASYNCPG:
        connect_uninterrupted(dialect, options, _connect_to_any_host, lambda connection: connection.terminate())
    elif dialect.driver in _PSYCOPG:
        driver: Any = import_module("psycopg")
        connect_uninterrupted(
            dialect, options, driver.AsyncConnection.connect, lambda connection: connection.pgconn.finish()
        )


async def _connect_to_any_host(*args: Any, **options: Any) -> Any:
    """Connect by asyncpg to the first host that answers in time, as libpq does.

    asyncpg's time limit is one for all hosts of a URL: it waits for the first one until none is left for the second.
    """
    driver: Any = import_module(_ASYNCPG)
    if not isinstance(options.get("host"), list):
        return await driver.connect(*args, **options)
    hosts: list[str] = options["host"]
    port: Any = options.get("port")
    ports: list[Any] = options["port"] if isinstance(port, list) else [port] * len(hosts)
    places = list(zip(hosts, ports, strict=True))
    wanted: Any = options.get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS")
    # Of one host alone, asyncpg would find that nothing is better than it.
    rounds = ["standby", "any"] if wanted == "prefer-standby" else [wanted]
    refusal: Exception | None = None
    for attributes, place in product(rounds, places):
        one = {"host": place[0], "port": place[1], "target_session_attrs": attributes}
        try:
            return await driver.connect(*args, **{**options, **one})
        except (OSError, driver.CannotConnectNowError, driver.TargetServerAttributeNotMatched) as error:
            refusal = error
    assert refusal is not None
    raise refusal


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


def _let_server_notice_a_lost_client(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Have the server look every second, from PostgreSQL 14 on, whether the client of a running statement is there.

    A cancellation that overtakes its statement stops nothing: the server would carry the statement on, and keep the
    locks of its transaction, for a connection that has been closed.
    """
    with asyncpg.outside_transaction(connection):
        cursor = connection.cursor()
        try:
            cursor.execute(_NOTICE_LOST_CLIENT)
        except Exception:  # a server on a system that cannot tell
            _logger.debug("the server will not notice a lost client", exc_info=True)
        finally:
            cursor.close()
