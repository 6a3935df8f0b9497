"""The work of the pytest plugin's fixtures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from sqlalchemy import MetaData

from layered_backend.database import Database
from layered_backend.testing.bound_engines import (
    BoundEngines,
    connected_through,
    in_one_transaction,
    in_one_transaction_sync,
)
from layered_backend.unit_of_work import UnitOfWork
from layered_backend.unit_of_work.open_units import forget

__all__ = [
    "URL_VARIABLE",
    "committed",
    "isolated",
    "isolated_sync",
    "open_around_all",
    "open_around_all_sync",
    "prepared",
    "prepared_sync",
    "url_of_tests",
]

URL_VARIABLE = "TEST_DATABASE_URL"

UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)


class _EndOfTestError(Exception):
    """Ends the unit of work of a test, so that nothing of it is saved and none of its hooks run."""


def url_of_tests() -> str:
    """Return the URL that TEST_DATABASE_URL names, else that of a database in memory."""
    return os.environ.get(URL_VARIABLE) or "sqlite://"


@contextmanager
def prepared(url: str, metadata: MetaData) -> Generator[Database]:
    """Make the tables of *metadata* where they are missing, in the database at *url*, which lasts as long as the block."""
    database = Database(url)

    async def create() -> None:
        await database.create_all(metadata)
        await database.engine.dispose()  # not of the database itself, which would be gone if it is in memory

    asyncio.run(create())
    try:
        yield database
    finally:
        database.dispose_sync()


@contextmanager
def prepared_sync(url: str, metadata: MetaData) -> Generator[Database]:
    """Do what `prepared` does, for `with`, without an event loop."""
    database = Database(url)
    database.create_all_sync(metadata)
    try:
        yield database
    finally:
        database.dispose_sync()


@asynccontextmanager
async def isolated(database: Database, unit_of_work: type[UnitOfWork]) -> AsyncGenerator[Database]:
    """Yield the database of *unit_of_work*, which is *database* in the block, in one transaction that is rolled back."""
    own = _own_database(unit_of_work)
    async with in_one_transaction(database, *own):
        yield (*own, database)[0]


@contextmanager
def isolated_sync(database: Database, unit_of_work: type[UnitOfWork]) -> Generator[Database]:
    """Do what `isolated` does, for `with`, without an event loop."""
    own = _own_database(unit_of_work)
    with in_one_transaction_sync(database, *own):
        yield (*own, database)[0]


@asynccontextmanager
async def committed(database: Database, metadata: MetaData, unit_of_work: type[UnitOfWork]) -> AsyncGenerator[Database]:
    """Yield the database of *unit_of_work*, which is *database* in the block; in the end its tables are emptied."""
    own = _own_database(unit_of_work)
    with connected_through(database.engines, *own):
        try:
            yield (*own, database)[0]
        finally:
            async with database.engine.begin() as connection:
                await connection.run_sync(database.dialect.writing.empty, metadata.sorted_tables)
            await database.engine.dispose()


def _own_database(unit_of_work: type[UnitOfWork]) -> list[Database]:
    database: Database | None = getattr(unit_of_work, "database", None)
    return [] if database is None else [database]


@asynccontextmanager
async def open_around_all(unit_of_work: type[UnitOfWorkT], database: Database) -> AsyncGenerator[UnitOfWorkT]:
    """Open a unit of work that all others of the test are inside of, and that saves nothing in the end."""
    try:
        async with unit_of_work(database) as uow:
            _put_around_all(uow, database)
            yield uow
            raise _EndOfTestError
    except _EndOfTestError:
        pass


@contextmanager
def open_around_all_sync(unit_of_work: type[UnitOfWorkT], database: Database) -> Generator[UnitOfWorkT]:
    """Do what `open_around_all` does, for `with`, without an event loop."""
    try:
        with unit_of_work(database) as uow:
            _put_around_all(uow, database)
            yield uow
            raise _EndOfTestError
    except _EndOfTestError:
        pass


def _put_around_all(uow: UnitOfWork, database: Database) -> None:
    forget(uow)  # it is the test's: the code under test has none open
    assert isinstance(database.engines, BoundEngines)
    database.engines.shared.around_all = uow
