"""Guarantee 13: what `on_commit` was given runs after the commit, in order, and never without it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from sqlalchemy import event

from layered_backend import Outcome, RolledBackError, UniqueViolationError
from tests.databases import Shop
from tests.shop import ShopUnitOfWork, add_item, violate


async def test_hooks_run_in_order_after_the_commit(shop: Shop) -> None:
    seen: list[object] = []

    async def work(uow: ShopUnitOfWork) -> None:
        async def asynchronous() -> None:
            seen.append(("second", shop.checked_out, uow.outcome))

        uow.on_commit(lambda: seen.append(("first", shop.checked_out, uow.outcome)))
        uow.on_commit(asynchronous)
        await add_item(uow, "tea")
        assert seen == []

    await shop.run(work)

    assert seen == [("first", 0, Outcome.COMMITTED), ("second", 0, Outcome.COMMITTED)]


async def test_hooks_of_an_empty_unit_of_work_run_too(shop: Shop) -> None:
    seen: list[int] = []

    async def work(uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: seen.append(1))

    await shop.run(work)

    assert seen == [1]


async def test_hooks_do_not_run_after_a_rollback(shop: Shop) -> None:
    seen: list[str] = []

    async def raising(uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: seen.append("raised"))
        raise KeyError

    async def rolled_back(uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: seen.append("rolled back"))
        await uow.rollback()
        uow.on_commit(lambda: seen.append("kept"))

    with pytest.raises(KeyError):
        await shop.run(raising)
    await shop.run(rolled_back)

    assert seen == ["kept"]


async def test_hooks_of_a_savepoint_share_its_fate(shop: Shop) -> None:
    seen: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        async with uow.savepoint():
            uow.on_commit(lambda: seen.append("released"))
        with pytest.raises(KeyError):
            async with uow.savepoint():
                uow.on_commit(lambda: seen.append("undone"))
                raise KeyError

    await shop.run(work)

    assert seen == ["released"]


async def test_a_hook_that_raises_is_logged_and_harms_nothing(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        async def broken() -> None:
            raise KeyError("of the hook")

        uow.on_commit(broken)
        uow.on_commit(lambda: seen.append("next"))
        await add_item(uow, "tea")

    with caplog.at_level(logging.ERROR, "layered_backend"):
        await shop.run(work)

    assert seen == ["next"]
    assert "the commit stands" in caplog.text
    assert await shop.names() == ["tea"]


async def test_a_hook_that_waits_for_a_cancelled_task_stops_nothing(async_shop: Shop) -> None:
    seen: list[str] = []

    async def wait_for_a_cancelled_task() -> None:
        task = asyncio.create_task(asyncio.sleep(10))
        task.cancel()
        await task

    async with async_shop.unit() as uow:
        uow.on_commit(wait_for_a_cancelled_task)
        uow.on_commit(lambda: seen.append("next"))
        await add_item(uow, "tea")

    assert seen == ["next"]


async def test_commit_in_mid_block_runs_the_hooks_once(shop: Shop) -> None:
    seen: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: seen.append("first"))
        await add_item(uow, "tea")
        await uow.commit()
        assert seen == ["first"]
        uow.on_commit(lambda: seen.append("second"))

    await shop.run(work)

    assert seen == ["first", "second"]


async def test_hooks_do_not_run_after_a_commit_that_was_refused(shop: Shop) -> None:
    seen: list[str] = []
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: seen.append("refused"))
        with pytest.raises(UniqueViolationError):
            await violate(uow)

    with pytest.raises(RolledBackError):
        await shop.run(work)

    assert seen == []


@pytest.mark.parametrize("is_in_mid_block", [False, True])
async def test_hooks_run_although_a_listener_raised_after_the_commit(shop: Shop, is_in_mid_block: bool) -> None:
    seen: list[str] = []
    units: list[ShopUnitOfWork] = []

    def refuse(*_: object) -> None:
        raise ConnectionError("the search engine cannot be reached")

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        event.listen(uow.session.sync_session, "after_commit", refuse)
        uow.on_commit(lambda: seen.append("ran"))
        await add_item(uow, "tea")
        if is_in_mid_block:
            await uow.commit()

    with pytest.raises(ConnectionError, match="search engine"):
        await shop.run(work)

    assert units[0].outcome is Outcome.COMMITTED
    assert seen == ["ran"]
    assert await shop.names() == ["tea"]
