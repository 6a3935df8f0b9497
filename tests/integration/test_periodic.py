"""What an application does again and again while it runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import FastAPI

from layered_backend import Background, FailedJob, LockTimeoutError, install
from layered_backend.unit_of_work import OpenUnit, still_open
from tests.databases import Shop
from tests.shop import ShopUnitOfWork, add_item


@asynccontextmanager
async def running(shop: Shop, background: Background) -> AsyncGenerator[None]:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=shop.database, background=background)
    async with asyncio.timeout(30), app.router.lifespan_context(app):
        yield


async def test_it_is_done_at_once_and_again_each_time_in_a_unit_of_work_of_its_own(async_shop: Shop) -> None:
    done: list[ShopUnitOfWork] = []
    enough = asyncio.Event()

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, f"tea {len(done)}")
        done.append(uow)
        if len(done) == 3:
            enough.set()

    async with running(async_shop, Background(periodic={work: 0.01})):
        await enough.wait()
        await asyncio.sleep(0.2)
        assert len(await async_shop.names()) >= 3

    count = len(done)
    await asyncio.sleep(0.1)
    assert len(done) == count
    assert len({*map(id, done)}) == count
    assert {uow.actor for uow in done} == {None}


async def test_one_that_fails_is_undone_told_and_done_again(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[FailedJob] = []
    enough = asyncio.Event()

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "half")
        if len(told) == 2:
            enough.set()
        raise KeyError("of the work")

    with caplog.at_level(logging.ERROR, "layered_backend"):
        async with running(sqlite_shop, Background(periodic={work: 0.01}, on_error=told.append)):
            await enough.wait()

    assert await sqlite_shop.names() == []
    assert (told[0].name.endswith("work"), told[0].ids, str(told[0].error)) == (True, (), "'of the work'")
    assert "failed; its work is rolled_back" in caplog.messages[0]


async def test_a_transient_error_has_it_done_again_at_once(sqlite_shop: Shop) -> None:
    attempts: list[int] = []
    is_done = asyncio.Event()

    async def work(uow: ShopUnitOfWork) -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise LockTimeoutError("somebody else has it")
        is_done.set()

    async with running(sqlite_shop, Background(periodic={work: 3600})):
        await is_done.wait()

    assert attempts == [0, 1, 2]


async def test_what_is_under_way_when_the_application_stops_is_undone(sqlite_shop: Shop) -> None:
    begun = asyncio.Event()

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "half")
        begun.set()
        await asyncio.sleep(3600)

    async with running(sqlite_shop, Background(periodic={work: 1})):
        await begun.wait()

    assert await sqlite_shop.names() == []


async def test_it_ends_with_the_application_although_its_cancellation_is_lost(sqlite_shop: Shop) -> None:
    begun = asyncio.Event()

    async def work(uow: ShopUnitOfWork) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):  # as a driver does, by `asyncio.wait_for` before Python 3.12
            await asyncio.sleep(3600)

    async with running(sqlite_shop, Background(periodic={work: 3600})):
        await begun.wait()


async def test_it_is_no_part_of_what_is_open_where_the_application_starts(sqlite_shop: Shop) -> None:
    is_done, open_here = asyncio.Event(), list[OpenUnit]()

    async def work(uow: ShopUnitOfWork) -> None:
        open_here.extend(still_open())
        is_done.set()

    async with sqlite_shop.unit(read_only=True) as outer:
        await outer.items.count()
        async with running(sqlite_shop, Background(periodic={work: 3600})):
            await is_done.wait()

    assert len(open_here) == 1
    assert outer not in open_here


async def _takes_more(uow: ShopUnitOfWork, item_id: int) -> None: ...


async def _fits(uow: ShopUnitOfWork) -> None: ...


@pytest.mark.parametrize(
    ("periodic", "error", "message"),
    [
        ({_fits: 0}, ValueError, "after more than 0 seconds"),
        ({len: 1}, TypeError, "is not `async def`"),
        ({_takes_more: 1}, TypeError, "is given a unit of work and 0 ids"),
    ],
)
def test_what_cannot_be_done_again_is_refused(periodic: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Background(periodic=periodic)
