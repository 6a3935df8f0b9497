"""A database whose every unit of work is on the one connection of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, NoReturn, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from layered_backend.database import Database
from layered_backend.dialects import DatabaseDialect, PortableTransactions, Transactions
from layered_backend.errors import UnitOfWorkError
from layered_backend.memoization import unique
from layered_backend.testing.shared_connection import AUTOCOMMIT, READ_ONLY, SharedConnection

__all__ = ["BoundDatabase", "in_one_transaction", "in_one_transaction_sync", "standing_in"]


class BoundDatabase(Database):
    """*original*, with every unit of work on the one connection of *shared*. Lives as long as one test.

    What the code under test does to its pool has no effect: it may `dispose()` of it, as an application does that stops.
    """

    def __init__(self, original: Database, shared: SharedConnection) -> None:
        vars(self).update(vars(original))
        self.shared = shared
        self.dialect: DatabaseDialect = replace(
            original.dialect, transactions=_nested(type(original.dialect.transactions))()
        )
        self.is_in_memory: bool = False  # in which units of work would have to wait for each other
        self._variants = WeakKeyDictionary()
        self._unbegun_reads = WeakKeyDictionary()
        self.deferred_begin = False  # a savepoint is a beginning
        self._bound = shared.engine()
        self._beside = self._bound.execution_options(**{AUTOCOMMIT: True})
        self._awaited = AsyncEngine(self._bound) if self._bound.dialect.is_async else None
        self._loop = asyncio.get_running_loop() if self._awaited else None

    @property
    def engine(self) -> AsyncEngine:
        if self._awaited is None:
            _refuse("with", "async with", "database")
        self._check_loop()
        return self._awaited

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise UnitOfWorkError(
                "the connection of this test belongs to the event loop of the test, and this is another one; call the "
                "application with the `client` fixture, which does not start one as TestClient does"
            )

    @property
    def sync_engine(self) -> Engine:
        if self._awaited is not None:
            _refuse("async with", "with", "database_sync")
        return self._bound

    def _autocommit_engine(self) -> Engine:
        self._check_loop()
        return self._beside

    async def dispose(self) -> None:
        """Do nothing: the test still has its connection."""

    def dispose_sync(self) -> None:
        """Do nothing: the test still has its connection."""


class _Nested(PortableTransactions):
    """The transactions inside another one: they wait for none, and have no isolation of their own."""

    has_one_writer = False

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        return {READ_ONLY: read_only}


@unique
def _nested(outer: type[Transactions]) -> type[Transactions]:
    return cast("type[Transactions]", type(f"Nested{outer.__name__}", (_Nested, outer), {}))


def _refuse(possible: str, tried: str, fixture: str) -> NoReturn:
    raise UnitOfWorkError(
        f"the connection of this test is for `{possible}`, and `{tried}` would need another, which would see nothing of "
        f"the test's rows; for that, the test takes the fixture `{fixture}`"
    )


@contextmanager
def standing_in(replacement: Database, *originals: Database) -> Generator[None]:
    """Have *originals* be *replacement*, for whoever refers to them, as long as the block lasts."""
    before = [(original, type(original), vars(original)) for original in originals]
    for original in originals:
        original.__class__, original.__dict__ = type(replacement), vars(replacement)
    try:
        yield
    finally:
        for original, kind, state in before:
            original.__class__, original.__dict__ = kind, state


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
    with ExitStack() as stack:
        stack.enter_context(standing_in(BoundDatabase(database, shared), database, *others))
        yield shared
