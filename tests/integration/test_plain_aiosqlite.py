"""Transactions on aiosqlite through SQLAlchemy's own adapter, as with a release that lacks what ours needs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import aiosqlite
import pytest
from sqlalchemy import Connection

from layered_backend import Database, LockTimeoutError, Outcome
from layered_backend.upstream.sqlalchemy import aiosqlite_adapter
from tests.databases import ASYNC_BACKENDS, Shop
from tests.integration import test_commit, test_repository, test_unit_of_work
from tests.integration.test_database import TestSQLite
from tests.repeated import repeated_tests
from tests.shop import ShopUnitOfWork, add_item
from tests.upstream.hiding import hide


@pytest.fixture(autouse=True)
def _without_the_name() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hide(patch, aiosqlite.Connection, "_execute")
        aiosqlite_adapter.is_offered.cache_clear()
        yield
    aiosqlite_adapter.is_offered.cache_clear()


@pytest.fixture(params=ASYNC_BACKENDS[:1], ids=str)
def shop(sqlite_shop: Shop) -> Shop:
    return sqlite_shop


@pytest.fixture(params=ASYNC_BACKENDS[:1], ids=str)
def async_shop(sqlite_shop: Shop) -> Shop:
    return sqlite_shop


globals().update(repeated_tests(test_commit, test_repository, test_unit_of_work) | {"TestSQLite": TestSQLite})


async def test_the_adapter_is_sqlalchemys_own(sqlite_shop: Shop) -> None:
    def adapter(connection: Connection) -> str:
        return type(connection.connection.dbapi_connection).__module__

    async with sqlite_shop.database.engine.connect() as connection:
        assert await connection.run_sync(adapter) == "sqlalchemy.dialects.sqlite.aiosqlite"


async def test_a_caught_lock_timeout_at_the_beginning_has_undone_nothing(sqlite_shop: Shop) -> None:
    holder = sqlite3.connect(str(sqlite_shop.database.url.database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with Database(sqlite_shop.database.url, connect_args={"timeout": 0.05}) as impatient:
        async with ShopUnitOfWork(impatient) as uow:
            for _ in range(2):
                with pytest.raises(LockTimeoutError):
                    await uow.items.count()
            holder.execute("ROLLBACK")
            holder.close()
            await add_item(uow, "cup")

    assert uow.outcome is Outcome.COMMITTED
    assert await sqlite_shop.names() == ["cup"]
