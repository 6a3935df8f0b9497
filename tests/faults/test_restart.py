"""A database that goes away and comes back, under an application that goes on."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx2
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import URL, Engine, text

from layered_backend import Database, DatabaseUnavailableError
from layered_backend.fastapi import status_of
from tests.databases import Shop, backends_of
from tests.faults.clusters import PostgreSQLCluster, or_skip, postgresql_cluster
from tests.faults.serving import Server, serving
from tests.shop import Base, ShopUnitOfWork, add_item

Mode = Literal["fast", "immediate"]

MODES: tuple[Mode, ...] = ("fast", "immediate")
DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg")
WRITERS = 4
POOL_SIZE = 2  # of the server
TIME_LIMIT = 30  # seconds
CLOSE = {"Connection": "close"}  # uvicorn closes a kept one after an error, under the next request


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQLCluster]:
    with or_skip(), postgresql_cluster() as cluster:
        yield cluster


@pytest.fixture
def engine(cluster: PostgreSQLCluster) -> Engine:
    """The test's own way to the database, with the tables and no rows."""
    engine = sqlalchemy.create_engine(cluster.url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    return engine


@pytest.fixture(params=DRIVERS)
def server(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Server]:
    environment = {
        "LAYERED_TEST_URL": engine.url.set(drivername=request.param).render_as_string(),
        "LAYERED_TEST_POOL_SIZE": str(POOL_SIZE),
    }
    with serving("tests.faults.application:app", tmp_path / "server.log", environment) as server:
        yield server


@asynccontextmanager
async def stopped(cluster: PostgreSQLCluster, mode: Mode) -> AsyncGenerator[None]:
    await asyncio.to_thread(cluster.stop, mode)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.start)


@dataclass
class Writers:
    """Clients that write all the time, under names that they choose, and keep what they were answered.

    Attributes:
        answers: The answer to each name that has one.
        begun: The names of the requests that were sent.
    """

    client: httpx2.AsyncClient
    answers: dict[str, httpx2.Response] = field(default_factory=dict[str, httpx2.Response])
    begun: list[str] = field(default_factory=list[str])
    is_over: bool = False

    async def write(self, writer: int) -> None:
        for number in itertools.count():
            if self.is_over:
                return
            name = f"{writer}-{number}"
            self.begun.append(name)
            self.answers[name] = await self.client.post("/items", json={"name": name, "price": 1}, headers=CLOSE)

    def answered(self, *statuses: int) -> set[str]:
        """Return the names that were answered with one of *statuses*."""
        return {name for name, answer in self.answers.items() if answer.status_code in statuses}

    async def go_on_until(self, status: int, times: int) -> None:
        """Wait until so many more were answered with *status*."""
        wanted = len(self.answered(status)) + times
        async with asyncio.timeout(TIME_LIMIT):
            while len(self.answered(status)) < wanted:  # noqa: ASYNC110  # polling is simpler than waking
                await asyncio.sleep(0.005)


@asynccontextmanager
async def writing(server: Server) -> AsyncGenerator[Writers]:
    async with server.client() as client, asyncio.TaskGroup() as tasks:
        writers = Writers(client)
        for writer in range(WRITERS):
            tasks.create_task(writers.write(writer))
        try:
            yield writers
        finally:
            writers.is_over = True


def names(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT name FROM items")))


async def get(server: Server, path: str) -> Any:
    async with server.client() as client:
        return (await client.get(path)).json()


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_acknowledged_is_there_and_the_rest_is_told_to_come_again(
    cluster: PostgreSQLCluster, server: Server, engine: Engine, mode: Mode
) -> None:
    async with writing(server) as writers:
        await writers.go_on_until(201, 40)
        async with stopped(cluster, mode):
            await writers.go_on_until(503, 20)
        begun_before = len(writers.begun)
        await writers.go_on_until(201, 40)

    unknown = writers.answered(500)
    saved, acknowledged = names(engine), writers.answered(201)
    assert acknowledged <= saved, "nothing that was acknowledged is lost"
    assert saved <= acknowledged | unknown, "nothing that was refused is there"
    assert acknowledged | unknown | writers.answered(503) == set(writers.answers), "there is no other answer"
    assert {writers.answers[name].headers.get("Retry-After") for name in writers.answered(503)} == {"1"}
    assert server.log.count("\nlayered_backend.errors.CommitUnknownError: ") == len(unknown), "no other reason"
    assert set(writers.begun[begun_before:]) <= acknowledged, "once it is back, all is well"
    assert await get(server, "/checked-out") == 0


async def fill_pool(server: Server, engine: Engine) -> None:
    """Have the server open all connections that its pool may have."""
    connected = text("SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    async with server.client() as client, asyncio.timeout(TIME_LIMIT):
        with engine.connect() as connection:
            while connection.scalar(connected) != POOL_SIZE + 1:
                await asyncio.gather(*(client.get("/items/1") for _ in range(10)))


@pytest.mark.parametrize("mode", MODES)
async def test_the_first_request_after_it_is_answered_though_each_pooled_connection_is_gone(
    cluster: PostgreSQLCluster, server: Server, engine: Engine, mode: Mode
) -> None:
    await fill_pool(server, engine)
    await asyncio.to_thread(cluster.restart, mode)

    async with server.client() as client:
        first = await client.post("/items", json={"name": "first", "price": 1})
        others = await asyncio.gather(
            *(client.post("/items", json={"name": str(number), "price": 1}) for number in range(5))
        )

    assert [answer.status_code for answer in (first, *others)] == [201] * 6
    assert await get(server, "/checked-out") == 0


OWN_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({}, 10000)", "mariadb": "KILL CONNECTION {}"}


async def pooled_numbers(shop: Shop) -> list[int]:
    """Fill the pool with two connections, and return the server's numbers of them."""
    own_number = text(OWN_NUMBER[shop.backend.server])

    async def both(first: ShopUnitOfWork, second: ShopUnitOfWork) -> list[int]:
        return [await uow.session.scalar(own_number) for uow in (first, second)]

    if shop.backend.asynchronous:
        async with shop.unit() as first, shop.unit() as second:
            return await both(first, second)

    def both_sync() -> list[int]:
        with shop.unit() as first, shop.unit() as second:
            return first.run(both(first, second))

    return await asyncio.to_thread(both_sync)


def end_connections(shop: Shop, numbers: list[int]) -> None:
    """End the connections with *numbers* from outside, and wait until they are no more."""
    server = shop.backend.server
    engine = sqlalchemy.create_engine(shop.database.sync_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        for number in numbers:
            connection.execute(text(KILL[server].format(number)))
        deadline = time.monotonic() + TIME_LIMIT
        listing = "SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ({})"
        gone = text(listing.format(", ".join(map(str, numbers))))
        while server == "mariadb" and connection.scalar(gone):
            assert time.monotonic() < deadline


@pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_pooled_connection_that_the_server_has_closed_is_replaced_unnoticed(shop: Shop) -> None:
    end_connections(shop, await pooled_numbers(shop))
    await asyncio.sleep(0.15)  # one that was in use a moment ago is trusted

    for name in ("tea", "coffee", "cocoa"):
        await shop.run(partial(add_item, name=name))

    assert await shop.names() == ["tea", "coffee", "cocoa"]


class TestWhileItIsAway:
    """Nobody waits for long, and all are told the same: 503."""

    async def _assert_unavailable(self, database: Database) -> DatabaseUnavailableError:
        async with asyncio.timeout(TIME_LIMIT):
            with pytest.raises(DatabaseUnavailableError) as caught:
                async with ShopUnitOfWork(database) as uow:
                    await uow.items.count()
        assert status_of(caught.value) == 503
        pool: Any = database.engine.pool
        assert pool.checkedout() == 0
        return caught.value

    @pytest.mark.parametrize("driver", [*DRIVERS, "mariadb+asyncmy"])
    async def test_nobody_listens(self, driver: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

        async with Database(f"{driver}://nobody@127.0.0.1:{port}/none") as database:
            await self._assert_unavailable(database)

    @pytest.mark.parametrize(
        ("driver", "option"),
        [
            ("postgresql+asyncpg", "timeout"),
            ("postgresql+psycopg", "connect_timeout"),
        ],
    )
    async def test_it_listens_and_does_not_answer(self, driver: str, option: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            url = f"{driver}://nobody@127.0.0.1:{port}/none"
            async with Database(url, connect_args={option: 1}) as database:
                await self._assert_unavailable(database)

    @pytest.mark.parametrize("driver", DRIVERS)
    async def test_it_is_starting(self, cluster: PostgreSQLCluster, driver: str) -> None:
        """A standby that is to answer no queries is a server that never ends to start."""
        signal = cluster.folder / "data" / "standby.signal"
        cluster.stop("fast")
        signal.touch()
        try:
            cluster.start("--no-wait", "--options=-c hot_standby=off")
            _wait_until_it_refuses(cluster.url)
            async with Database(cluster.url.set(drivername=driver)) as database:
                await self._assert_unavailable(database)
        finally:
            cluster.stop("immediate")
            signal.unlink()
            cluster.start()

    @pytest.mark.parametrize("driver", DRIVERS)
    async def test_it_is_stopping(self, cluster: PostgreSQLCluster, engine: Engine, driver: str) -> None:
        try:
            with engine.connect():  # for whose end a smart stop waits
                cluster.stop("smart", "--no-wait")
                _wait_until_it_refuses(cluster.url)
                async with Database(cluster.url.set(drivername=driver)) as database:
                    await self._assert_unavailable(database)
                cluster.stop("fast")
        finally:
            cluster.start()


def _wait_until_it_refuses(url: URL) -> None:
    """Wait until the server is there and answers that it takes no connections now (57P03)."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        try:
            psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database).close()
        except psycopg.OperationalError as error:
            if "the database system is" in str(error):
                return
        time.sleep(0.02)
    raise AssertionError("the server did not refuse")
