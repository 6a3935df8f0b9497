"""How SQLAlchemy's adapters let a connection be opened, and what becomes of one that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from layered_backend.upstream import connecting
from layered_backend.upstream.connecting import connect_uninterrupted, connections_ended, finished, opened, thread_ends
from tests.databases import ASYNC_BACKENDS, Shop, database_at


class _Connection:
    """A connection that can be closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


_BY_ADAPTERS = [backend for backend in ASYNC_BACKENDS if backend.server != "sqlite"]


@pytest.mark.parametrize("shop", _BY_ADAPTERS, indirect=True, ids=str)
async def test_each_adapter_opens_its_connections_to_the_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    async def open_and_tell(dialect: object, connection: Awaitable[object], discard: object) -> object:
        told.append(dialect)
        return await connection

    monkeypatch.setattr(connecting, "opened", open_and_tell)
    async with database_at(shop.database.url) as database:
        await database.ping()
        assert told == [database.engine.dialect]


async def test_a_connection_is_opened_by_the_given_function_with_what_the_adapter_passes(sqlite_shop: Shop) -> None:
    async def connect(*args: object, **options: object) -> object:
        return args, options

    options: dict[str, Any] = {"timeout": 1}
    connect_uninterrupted(sqlite_shop.database.engine.dialect, options, connect, repr)

    assert await options.pop("async_creator_fn")("shop.db", **options) == (("shop.db",), {"timeout": 1})


async def test_the_end_of_a_thread_is_waited_for(sqlite_shop: Shop) -> None:
    engine, may_end = sqlite_shop.database.engine.sync_engine, threading.Event()
    thread = threading.Thread(target=may_end.wait)
    thread.start()
    thread_ends(engine.dialect, thread)
    asyncio.get_running_loop().call_later(0.01, may_end.set)

    await connections_ended(engine)

    assert not thread.is_alive()


async def test_a_cancellation_that_the_driver_would_lose_arrives(sqlite_shop: Shop) -> None:
    connection, may_open = _Connection(), asyncio.Event()

    async def connect() -> _Connection:
        try:
            await may_open.wait()
        except asyncio.CancelledError:
            await may_open.wait()
        return connection

    engine = sqlite_shop.database.engine.sync_engine
    opening = asyncio.create_task(opened(engine.dialect, connect(), _Connection.close))
    await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert not connection.is_closed

    asyncio.get_running_loop().call_later(0.01, may_open.set)
    await connections_ended(engine)
    assert connection.is_closed


async def test_what_a_cancellation_makes_necessary_is_finished_in_spite_of_another(sqlite_shop: Shop) -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    engine = sqlite_shop.database.engine.sync_engine
    waiting = asyncio.create_task(finished(engine.dialect, work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await connections_ended(engine)
    assert done == ["work"]

    await asyncio.wait([waiting])
    assert waiting.cancelled()
