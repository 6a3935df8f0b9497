"""Transactions on aiosqlite through SQLAlchemy's own adapter, as with a release that lacks what ours needs."""

from __future__ import annotations

from collections.abc import Iterator

import aiosqlite
import pytest
from sqlalchemy import Connection

from layered_backend.upstream.sqlalchemy import aiosqlite_adapter
from tests.databases import ASYNC_BACKENDS, Shop
from tests.repeated import repeated_tests
from tests.integration import test_commit, test_repository, test_unit_of_work
from tests.integration.test_database import TestSQLite
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
