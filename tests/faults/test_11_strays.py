"""Guarantee 11: a task that is still at work when the block ends is stopped, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from layered_backend import (
    ConcurrentUseError,
    Database,
    DatabaseUnavailableError,
    FinishedError,
    Outcome,
    RolledBackError,
)
from layered_backend.session import session as guarded_session
from tests.databases import ASYNC_BACKENDS, Shop
from tests.faults.slow import slow_query, slow_rows
from tests.faults.soundness import assert_sound
from tests.shop import Base, ShopUnitOfWork, add_item

ON_SERVERS = [backend for backend in ASYNC_BACKENDS if backend.server != "sqlite"]
ON_POSTGRESQL = [backend for backend in ON_SERVERS if backend.server == "postgresql"]

Work = Callable[[ShopUnitOfWork, str], Awaitable[Any]]


async def _query(uow: ShopUnitOfWork, server: str) -> None:
    await uow.session.execute(slow_query(server))


async def _write(uow: ShopUnitOfWork, server: str) -> None:
    for number in range(1000):
        await add_item(uow, f"of the child {number}")


async def _query_past_the_session(uow: ShopUnitOfWork, server: str) -> None:
    connection = await uow.session.connection()
    await connection.execute(slow_query(server))


async def _stream(uow: ShopUnitOfWork, server: str) -> None:
    stream = await uow.session.stream(slow_rows(server))
    async for _ in stream:
        pass


CHILDREN: dict[str, Work] = {
    "queries": _query,
    "writes": _write,
    "queries past the session": _query_past_the_session,
    "streams": _stream,
}


@pytest.mark.parametrize("ticks", range(1, 6))
@pytest.mark.parametrize("child", CHILDREN)
async def test_a_child_still_at_work_is_stopped(async_shop: Shop, child: str, ticks: int) -> None:
    kept: list[asyncio.Task[Any]] = []  # and with them, in their tracebacks, the driver's cursors
    units: list[ShopUnitOfWork] = []

    async def leave_a_child() -> None:
        async with async_shop.unit() as uow:
            units.append(uow)
            await add_item(uow, "tea")
            work = CHILDREN[child](uow, async_shop.backend.server)
            kept.append(asyncio.create_task(_awaited(work), name="stray"))
            for _ in range(ticks):
                await asyncio.sleep(0)

    with pytest.raises(ConcurrentUseError, match="the block ended while task 'stray' had a call under way"):
        await leave_a_child()
    await asyncio.wait(kept)

    assert kept[0].cancelled()
    assert units[0].outcome is Outcome.ROLLED_BACK
    await assert_sound(async_shop)
    assert await async_shop.names() == []


@pytest.mark.parametrize("child", CHILDREN)
async def test_a_child_that_has_not_begun_does_nothing_any_more(async_shop: Shop, child: str) -> None:
    async with async_shop.unit() as uow:
        await add_item(uow, "tea")
        await uow.session.connection()
    late = asyncio.create_task(_awaited(CHILDREN[child](uow, async_shop.backend.server)))
    with pytest.raises(FinishedError):
        await late

    kept: list[asyncio.Task[Any]] = []
    try:
        async with async_shop.unit() as uow:
            await add_item(uow, "cup")
            kept.append(asyncio.create_task(_awaited(CHILDREN[child](uow, async_shop.backend.server)), name="stray"))
    except ConcurrentUseError:  # it came in between
        assert uow.outcome is Outcome.ROLLED_BACK
    else:
        assert uow.outcome is Outcome.COMMITTED
    await asyncio.wait(kept)

    assert kept[0].cancelled() or isinstance(kept[0].exception(), FinishedError | ConcurrentUseError)
    await assert_sound(async_shop)
    assert await async_shop.names() == ["tea", "cup"][: 2 if uow.outcome is Outcome.COMMITTED else 1]


_UNDER_WAY = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(20)%'"
    " AND datname = current_database()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(20)%' AND db = database()",
}


async def _until_under_way(shop: Shop, number: int, seconds: float) -> None:
    """Wait until the server is at work on so many slow queries."""
    question = text(_UNDER_WAY[shop.backend.server])
    async with asyncio.timeout(seconds), shop.unit(read_only=True) as uow:
        while await uow.session.scalar(question) != number:
            await uow.rollback()  # PostgreSQL keeps what it told of others until the end of the transaction


@pytest.mark.parametrize("async_shop", ON_SERVERS, indirect=True, ids=str)
async def test_a_statement_that_was_cut_off_is_ended_on_the_server(async_shop: Shop) -> None:
    slow = asyncio.create_task(async_shop.run(lambda uow: uow.session.execute(slow_query(async_shop.backend.server))))
    await _until_under_way(async_shop, 1, seconds=10)

    slow.cancel()

    await _until_under_way(async_shop, 0, seconds=3)
    await asyncio.wait({slow})
    await assert_sound(async_shop)


@pytest.mark.parametrize("async_shop", ON_POSTGRESQL, indirect=True, ids=str)
async def test_postgresql_ends_a_statement_whose_client_is_gone(async_shop: Shop) -> None:
    """It is not told: a cancellation that overtakes its statement stops nothing."""

    def vanish(session: Session) -> None:
        driver_connection: Any = session.connection().connection.driver_connection
        address = (
            driver_connection.fileno() if async_shop.backend.driver == "psycopg" else _file_number(driver_connection)
        )
        sockets.append(socket.socket(fileno=os.dup(address)))

    async def work(uow: ShopUnitOfWork) -> None:
        await uow.session.run_sync(vanish)
        await uow.session.execute(slow_query("postgresql"))

    sockets: list[socket.socket] = []
    slow = asyncio.create_task(async_shop.run(work))
    await _until_under_way(async_shop, 1, seconds=10)

    sockets[0].shutdown(socket.SHUT_RDWR)
    sockets[0].close()

    await _until_under_way(async_shop, 0, seconds=5)
    with pytest.raises(DatabaseUnavailableError):
        await slow
    await assert_sound(async_shop)


def _file_number(asyncpg_connection: Any) -> int:
    return int(asyncpg_connection._transport.get_extra_info("socket").fileno())


@pytest.mark.parametrize("child", CHILDREN)
async def test_a_child_that_begins_later_takes_no_connection(async_shop: Shop, child: str) -> None:
    has_ended = asyncio.Event()

    async def work_later(uow: ShopUnitOfWork) -> None:
        await has_ended.wait()
        await CHILDREN[child](uow, async_shop.backend.server)

    async with async_shop.unit() as uow:
        await add_item(uow, "tea")
        task = asyncio.create_task(work_later(uow))
    has_ended.set()

    with pytest.raises(FinishedError, match="open a new one"):
        await task
    await assert_sound(async_shop)
    assert await async_shop.names() == ["tea"]


async def test_a_child_that_swallows_its_cancellation_is_still_refused(async_shop: Shop) -> None:
    async def endure(uow: ShopUnitOfWork) -> None:
        for _ in range(3):
            try:
                await uow.session.execute(slow_query(async_shop.backend.server))
            except (ConcurrentUseError, FinishedError, RolledBackError, asyncio.CancelledError) as error:
                errors.append(error)

    async def leave_a_child() -> None:
        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            children.append(asyncio.create_task(endure(uow)))
            await asyncio.sleep(0.01)

    children: list[asyncio.Task[None]] = []
    errors: list[BaseException] = []
    with pytest.raises(ConcurrentUseError):
        await leave_a_child()
    await asyncio.wait(children)

    assert isinstance(errors[0], asyncio.CancelledError)
    await assert_sound(async_shop)
    assert await async_shop.names() == []


async def test_a_child_whose_driver_loses_a_cancellation_is_cancelled_again(async_shop: Shop) -> None:
    async def lose_a_cancellation(uow: ShopUnitOfWork) -> None:
        with suppress(asyncio.CancelledError):
            await uow.session.call(lambda: await_only(asyncio.sleep(30)))
        await _write(uow, async_shop.backend.server)

    async def leave_a_child() -> None:
        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            children.append(asyncio.create_task(lose_a_cancellation(uow)))
            await asyncio.sleep(0)

    children: list[asyncio.Task[None]] = []
    with pytest.raises(ConcurrentUseError):
        await leave_a_child()

    assert children[0].cancelled()
    await assert_sound(async_shop)


async def test_a_thread_still_at_work_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
        await asyncio.to_thread(_leave_a_thread, database, monkeypatch)


def _leave_a_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun, is_waited_for = threading.Event(), threading.Event()
    results: list[object] = []

    def see_the_wait(seconds: float) -> None:
        is_waited_for.set()

    def pause() -> str:
        has_begun.set()
        return "waited for" if is_waited_for.wait(timeout=30) else "left alone"

    def add_function(connection: Any, record: object) -> None:
        connection.create_function("pause", 0, pause)

    def query(uow: ShopUnitOfWork) -> None:
        results.append(uow.run(uow.session.scalar(text("SELECT pause()"))))

    def leave() -> None:
        with ShopUnitOfWork(database) as uow:
            uow.run(add_item(uow, "tea"))
            thread = threading.Thread(target=query, args=(uow,), name="stray")
            threads.append(thread)
            thread.start()
            has_begun.wait(timeout=30)

    threads: list[threading.Thread] = []
    monkeypatch.setattr(guarded_session, "time", SimpleNamespace(sleep=see_the_wait))
    event.listen(database.sync_engine, "connect", add_function)
    database.create_all_sync(Base.metadata)
    with pytest.raises(ConcurrentUseError, match="the block ended while thread 'stray' had a call under way"):
        leave()
    threads[0].join()

    assert results == ["waited for"]
    with ShopUnitOfWork(database) as uow:
        assert uow.run(uow.items.count()) == 0


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
