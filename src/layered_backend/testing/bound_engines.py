"""Databases whose every unit of work is on the one connection of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, NoReturn, cast

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from layered_backend.database import Database, Engines
from layered_backend.database.configuration import DatabaseConfiguration
from layered_backend.database.engines import check_isolation_level
from layered_backend.dialects import Transactions
from layered_backend.errors import LayeredError, UnitOfWorkError
from layered_backend.testing.shared_connection import AUTOCOMMIT, READ_ONLY, SharedConnection

__all__ = ["BoundEngines", "connected_through", "in_one_transaction", "in_one_transaction_sync"]


class BoundEngines(Engines):
    """The engines of a database whose every unit of work is on the one connection of *shared*. Live as long as one test.

    What the code under test does to its pool has no effect: it may `dispose()` of it, as an application does that stops.

    Args:
        configuration: Of the database.
        shared: The connection.

    Attributes:
        shared: The connection.
    """

    def __init__(self, configuration: DatabaseConfiguration, shared: SharedConnection) -> None:
        dialect = configuration.dialect
        super().__init__(
            replace(
                configuration,
                dialect=replace(dialect, transactions=_Nested(dialect.transactions)),
                is_in_memory=False,  # where units of work would have to wait for each other
                deferred_begin=False,  # a savepoint is a beginning
            )
        )
        self._outer = dialect.transactions
        self.shared = shared
        self._bound = shared.engine()
        self._beside = self._bound.execution_options(**{AUTOCOMMIT: True})
        self._awaited = AsyncEngine(self._bound) if self._bound.dialect.is_async else None
        self._loop = asyncio.get_running_loop() if self._awaited else None

    @property
    def asynchronous(self) -> AsyncEngine:
        if self._awaited is None:
            _refuse("with", "async with", "database")
        self._check_loop()
        return self._awaited

    def _check_loop(self) -> None:
        try:
            current = asyncio.get_running_loop()
        except RuntimeError:
            current = None
        if current is None or current is not self._loop:
            raise UnitOfWorkError(
                "the connection of this test belongs to the event loop of the test, and this is another one; call the "
                "application with the `client` fixture, which does not start one as TestClient does"
            )

    @property
    def synchronous(self) -> Engine:
        if self._awaited is not None:
            _refuse("async with", "with", "database_sync")
        return self._bound

    @property
    def autocommit(self) -> Engine:
        self._check_loop()
        return self._beside

    def variant(self, engine: Engine, **transaction: Any) -> Engine:
        check_isolation_level(engine, self._outer.options(**transaction).get("isolation_level"))
        return super().variant(engine, **transaction)

    async def dispose(self) -> None:
        """Do nothing: the test still has its connection."""

    def dispose_synchronous(self) -> None:
        """Do nothing: the test still has its connection."""


class _Nested(Transactions):
    """The transactions inside another one: they wait for none, and have no isolation of their own.

    Args:
        outer: The transactions of the database, whose rules hold for all else.
    """

    has_one_writer: bool = False

    def __init__(self, outer: Transactions) -> None:
        self._outer = outer
        self.undoing_all: tuple[type[LayeredError], ...] = outer.undoing_all
        self.answers_every_commit: bool = outer.answers_every_commit
        self.streams_alone: bool = outer.streams_alone

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        return {READ_ONLY: read_only}

    def commits_each_statement(self, connection: Connection) -> bool:
        return self._outer.commits_each_statement(connection)

    def awaits_end(self, connection: Connection) -> bool:
        return self._outer.awaits_end(connection)

    def has_refused_to_begin(self, connection: Connection) -> bool:
        return self._outer.has_refused_to_begin(connection)

    def has_ended(self, connection: Connection) -> bool:
        return self._outer.has_ended(connection)

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:
        self._outer.check_deferred(connection, tables)

    def check_at_commit(self, connection: Any) -> None:
        self._outer.check_at_commit(connection)


def _refuse(possible: str, tried: str, fixture: str) -> NoReturn:
    raise UnitOfWorkError(
        f"the connection of this test is for `{possible}`, and `{tried}` would need another, which would see nothing of "
        f"the test's rows; for that, the test takes the fixture `{fixture}`"
    )


@contextmanager
def connected_through(engines: Engines, *databases: Database) -> Generator[None]:
    """Have *databases* lead where *engines* do, for whoever refers to them, as long as the block lasts."""
    before = [(database, database.engines) for database in databases]
    for database in databases:
        database.engines = engines
    try:
        yield
    finally:
        for database, own in before:
            database.engines = own


@asynccontextmanager
async def in_one_transaction(database: Database, *others: Database) -> AsyncGenerator[SharedConnection]:
    """Have all that is done to *database* in the block be part of one transaction, which is rolled back in the end.

    Each unit of work is a savepoint in it: it commits, rolls back and runs its hooks, and nothing of it is left.

    Args:
        database: Where to work; it has its tables.
        others: Databases that are to be this one in the block, wherever they are.
    """
    engine = database.engine
    try:
        async with engine.connect() as outer:
            await outer.begin()
            with _bound(database, others, cast("Connection", outer.sync_connection)) as shared:
                try:
                    yield shared
                finally:
                    await (outer.invalidate() if shared.is_doubtful else outer.rollback())
    finally:
        await engine.dispose()


@contextmanager
def in_one_transaction_sync(database: Database, *others: Database) -> Generator[SharedConnection]:
    """Do what `in_one_transaction` does, for `with`, without an event loop."""
    engine = database.sync_engine
    try:
        with engine.connect() as outer:
            outer.begin()
            with _bound(database, others, outer) as shared:
                try:
                    yield shared
                finally:
                    outer.rollback()
    finally:
        engine.dispose()


@contextmanager
def _bound(database: Database, others: tuple[Database, ...], outer: Connection) -> Generator[SharedConnection]:
    shared = SharedConnection(outer, database.dialect)
    with connected_through(BoundEngines(database.engines.configuration, shared), database, *others):
        yield shared
