"""Fixtures: each database of the matrix, with the tables of the test domain and no rows.

`bound` is what the pytest plugin makes of it: one transaction for each test, which is rolled back. What is about commits, several
connections, the pool or tables of its own takes `shop`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from layered_backend import Database
from layered_backend.testing import in_one_transaction, in_one_transaction_sync
from tests.databases import (
    ASYNC_BACKENDS,
    SYNC_BACKENDS,
    Backend,
    Servers,
    Shop,
    database_at,
    pooled,
)
from tests.shop import Base


def pytest_configure() -> None:
    """Have the runs of pytest inside the tests do without a plugin that takes more than a second to import."""
    os.environ["PYTEST_ADDOPTS"] = f"{os.environ.get('PYTEST_ADDOPTS', '')} -p no:schemathesis"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, lambda _: [Base.metadata])


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite file with the tables of the test domain, to be copied."""
    path = tmp_path_factory.mktemp("template") / "shop.db"
    with Database(f"sqlite:///{path}") as database:
        database.create_all_sync(Base.metadata)
        with database.sync_engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


async def _shop(backend: Backend, request: pytest.FixtureRequest, **engine_options: Any) -> AsyncGenerator[Shop]:
    if backend.server == "sqlite":
        path: Path = request.getfixturevalue("tmp_path") / "shop.db"
        path.write_bytes(request.getfixturevalue("sqlite_template"))  # noqa: ASYNC240  # nothing else runs yet
        url = make_url(f"sqlite:///{path}")
    else:
        servers: Servers = request.getfixturevalue("servers")
        url = pooled(servers.url(backend.server))
    backend_name = url.get_backend_name()
    url = url.set(drivername=f"{backend_name}+{backend.driver}")
    async with database_at(url, **engine_options) as database:
        yield Shop(backend, database)
        assert Shop(backend, database).checked_out == 0, "a connection was not given back"


@pytest.fixture(params=ASYNC_BACKENDS, ids=str)
async def async_shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    """The test domain on each database, awaited; with two connections at most."""
    async for shop in _shop(request.param, request, pool_size=2, max_overflow=0):
        yield shop


@pytest.fixture(params=(*ASYNC_BACKENDS, *SYNC_BACKENDS), ids=str)
async def shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    """The test domain on each database, awaited and driven without an event loop."""
    async for shop in _shop(request.param, request, pool_size=2, max_overflow=0):
        yield shop


@pytest.fixture
async def sqlite_shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    """The test domain on SQLite alone, for what does not depend on the database."""
    async for shop in _shop(ASYNC_BACKENDS[0], request):
        yield shop


@pytest.fixture
async def asyncpg_shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    """The test domain on PostgreSQL through asyncpg, for what is that driver's own."""
    async for shop in _shop(ASYNC_BACKENDS[1], request):
        yield shop


@pytest.fixture
async def deferred_shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    """The test domain on PostgreSQL through asyncpg, with BEGIN deferred."""
    async for shop in _shop(ASYNC_BACKENDS[1], request, deferred_begin=True):
        yield shop


@pytest.fixture
async def bound(shop: Shop) -> AsyncGenerator[Shop]:
    """The test domain on each database, in one transaction that leaves nothing behind."""
    if shop.backend.asynchronous:
        async with in_one_transaction(shop.database) as one:
            yield shop
            assert one.is_idle
    else:
        with in_one_transaction_sync(shop.database) as one:
            yield shop
            assert one.is_idle
    assert await shop.names() == [], "the test has left rows behind"


@pytest.fixture
async def async_bound(async_shop: Shop) -> AsyncGenerator[Shop]:
    """The test domain on each database, awaited, in one transaction that leaves nothing behind."""
    async with in_one_transaction(async_shop.database) as one:
        yield async_shop
        assert one.is_idle
    assert await async_shop.names() == [], "the test has left rows behind"
