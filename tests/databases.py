"""The databases that the tests run on, and one unit of work for all of them, with and without an event loop."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy
from sqlalchemy import URL, Engine, MetaData, make_url, text
from sqlalchemy.exc import OperationalError

from layered_backend import Database
from layered_backend.session import drive
from tests.shop import ShopUnitOfWork

T = TypeVar("T")

MUST_HAVE_SERVERS = os.environ.get("LAYERED_REQUIRE_SERVERS") == "1"
SERVERS = {
    "postgresql": os.environ.get("LAYERED_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": os.environ.get("LAYERED_TEST_MARIADB", "mariadb+pymysql://root@127.0.0.1:3306/test"),
}
PGBOUNCER_PORT = os.environ.get("LAYERED_TEST_PGBOUNCER")
"""Where the databases of PostgreSQL are reached through PgBouncer, which `tests.faults.pgbouncer` starts."""


@dataclass(frozen=True)
class Backend:
    """A way to reach a database.

    Attributes:
        server: `sqlite`, or a key of SERVERS.
        driver: The asynchronous driver, or the synchronous one.
        asynchronous: Which of the two it is.
    """

    server: str
    driver: str
    asynchronous: bool = True

    def __str__(self) -> str:
        return f"{self.server}-{self.driver}{'' if self.asynchronous else '-sync'}"


ASYNC_BACKENDS = (
    Backend("sqlite", "aiosqlite"),
    Backend("postgresql", "asyncpg"),
    Backend("postgresql", "psycopg"),
    Backend("mariadb", "asyncmy"),
)
SYNC_BACKENDS = (
    Backend("sqlite", "pysqlite", asynchronous=False),
    Backend("postgresql", "psycopg", asynchronous=False),
    Backend("mariadb", "pymysql", asynchronous=False),
)


def backends_of(*servers: str) -> list[Backend]:
    """Return the ways to reach those databases, for a test that says nothing of the others."""
    return [backend for backend in (*ASYNC_BACKENDS, *SYNC_BACKENDS) if backend.server in servers]


class ServerMissingError(Exception):
    """No server listens where the tests expect one."""


@contextmanager
def own_database(server: str) -> Generator[URL]:
    """Create a database of the tests' own on *server*, and drop it at the end."""
    engine = sqlalchemy.create_engine(
        SERVERS[server], isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
    )
    name = f"layered_test_{secrets.token_hex(4)}"
    try:
        _run(engine, f"CREATE DATABASE {name}")
    except OperationalError as error:
        raise ServerMissingError(f"no {server} server at {engine.url!r}: {error.orig}") from error
    if server == "postgresql":
        _run(engine, f"ALTER DATABASE {name} SET synchronous_commit = off")  # it need not outlive its server
    try:
        yield make_url(SERVERS[server]).set(database=name)
    finally:
        _run(engine, f"DROP DATABASE {name}{' WITH (FORCE)' if server == 'postgresql' else ''}")
        engine.dispose()


@contextmanager
def new_database(server: str, folder: Path) -> Generator[URL]:
    """Make a database without tables, on a server or as a file in *folder*, and remove it at the end."""
    if server == "sqlite":
        yield make_url(f"sqlite:///{folder / 'shop.db'}")
        return
    with own_database(server) as url:
        yield url


def pooled(url: URL) -> URL:
    """Return *url*, with PgBouncer's place in it where the tests go through that."""
    if PGBOUNCER_PORT and url.get_backend_name() == "postgresql":
        return url.set(host="127.0.0.1", port=int(PGBOUNCER_PORT))
    return url


def database_at(url: str | URL, **options: Any) -> Database:
    """Return the database at *url*, set up for PgBouncer where that is PgBouncer's place."""
    url = make_url(url)
    return Database(url, pgbouncer=str(url.port) == PGBOUNCER_PORT, **options)


def _run(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(sql))


class Servers:
    """Databases on the servers, each made when a test first asks for it. Lives as long as the tests of one process.

    Args:
        stack: Drops them in the end.
        metadata_of: Returns the tables that they have, by the name of the server.
    """

    def __init__(self, stack: ExitStack, metadata_of: Callable[[str], Sequence[MetaData]]) -> None:
        self._stack = stack
        self._metadata_of = metadata_of
        self._engines: dict[str, Engine | ServerMissingError] = {}

    def url(self, server: str) -> URL:
        """Return the URL of the database on *server*, with its tables and no rows; skip or fail without the server."""
        if server not in self._engines:
            self._engines[server] = self._prepared(server)
        engine = self._engines[server]
        if isinstance(engine, ServerMissingError):
            (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(engine))
        _empty(engine, self._metadata_of(server))
        return engine.url

    def _prepared(self, server: str) -> Engine | ServerMissingError:
        try:
            url = self._stack.enter_context(own_database(server))
        except ServerMissingError as error:
            return error
        engine = sqlalchemy.create_engine(url)
        self._stack.callback(engine.dispose)
        for metadata in self._metadata_of(server):
            metadata.create_all(engine)
        return engine


_RESTARTING_SEQUENCES = (
    "SELECT setval(quote_ident(schemaname) || '.' || quote_ident(sequencename), start_value, false) "
    "FROM pg_sequences WHERE last_value IS NOT NULL"
)
_COUNTING = "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND auto_increment > 1"


def _empty(engine: Engine, metadata: Sequence[MetaData]) -> None:
    """Delete all rows, and count keys from 1 again. TRUNCATE would take five times as long."""
    tables = [table for each in metadata for table in reversed(each.sorted_tables)]
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            for table in tables:
                connection.execute(table.delete())
            connection.execute(text(_RESTARTING_SEQUENCES))
            return
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in tables:
            connection.execute(table.delete())
        for name in connection.scalars(text(_COUNTING)).all():
            connection.execute(text(f"ALTER TABLE {name} AUTO_INCREMENT = 1"))
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


def driver_threads() -> set[str]:
    """Return the names of aiosqlite's threads, one for each connection that is not closed."""
    return {thread.name for thread in threading.enumerate() if "_connection_worker_thread" in thread.name}


@dataclass
class Shop:
    """The test domain on one database.

    Attributes:
        backend: How the database is reached.
        database: The database, with the tables and no rows.
    """

    backend: Backend
    database: Database

    def unit(self, **options: Any) -> ShopUnitOfWork:
        return ShopUnitOfWork(self.database, **options)

    async def run(self, work: Callable[[ShopUnitOfWork], Awaitable[T]], **options: Any) -> T:
        """Run *work* in a unit of work of its own: with an event loop, or in a thread without one."""
        if self.backend.asynchronous:
            async with self.unit(**options) as uow:
                return await work(uow)
        return await asyncio.to_thread(self._run_sync, work, options)

    def _run_sync(self, work: Callable[[ShopUnitOfWork], Awaitable[T]], options: dict[str, Any]) -> T:
        async def awaited(uow: ShopUnitOfWork) -> T:
            return await work(uow)

        with self.unit(**options) as uow:
            return drive(awaited(uow))

    async def names(self) -> list[str]:
        """Return the names of the items, by key."""
        return [item.name for item in await self.run(lambda uow: uow.items.list())]

    @property
    def checked_out(self) -> int:
        """How many connections are not in the pool."""
        engine = self.database.engine.sync_engine if self.backend.asynchronous else self.database.sync_engine
        pool: Any = engine.pool
        return int(pool.checkedout())
