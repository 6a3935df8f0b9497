"""Guarantee 4: an error that was caught is not forgotten, and nothing is saved by halves."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.exc import DBAPIError

from layered_backend import InvalidDataError, Outcome, RolledBackError, UniqueViolationError
from tests.databases import Shop
from tests.faults.slow import slow_query
from tests.shop import Item, ShopUnitOfWork, add_item, violate


async def test_a_swallowed_error_refuses_the_commit(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "coffee")
        with pytest.raises(UniqueViolationError):
            await violate(uow)

    with pytest.raises(RolledBackError, match=r"UniqueViolationError on items\.name was caught") as caught:
        await shop.run(work)

    assert isinstance(caught.value.__cause__, UniqueViolationError)
    assert units[0].outcome is Outcome.ROLLED_BACK
    assert await shop.names() == ["tea"]


async def test_a_swallowed_flush_refuses_what_follows_and_the_commit(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        with pytest.raises(UniqueViolationError):
            await add_item(uow, "tea")
        with pytest.raises(RolledBackError):
            await uow.items.count()

    with pytest.raises(RolledBackError) as caught:
        await shop.run(work)

    assert isinstance(caught.value.__cause__, UniqueViolationError)


async def test_an_error_that_cannot_be_read_is_not_forgotten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))
    kind = type(shop.database.dialect.errors)

    def fail(*_: object) -> NoReturn:
        raise LookupError("of the metadata")

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "coffee")
        monkeypatch.setattr(kind, "probe", fail)
        with pytest.raises(UniqueViolationError):
            await violate(uow)
        monkeypatch.setattr(kind, "read", fail)
        with pytest.raises(DBAPIError):
            await violate(uow)

    with pytest.raises(RolledBackError):
        await shop.run(work)

    monkeypatch.undo()
    assert await shop.names() == ["tea"]


async def test_an_error_that_a_savepoint_has_undone_is_not_blamed_for_a_later_one(asyncpg_shop: Shop) -> None:
    async with asyncpg_shop.unit() as uow:
        await add_item(uow, "tea")
        with pytest.raises(UniqueViolationError):
            async with uow.savepoint():
                await violate(uow)
        connection: Any = await (await uow.session.connection()).get_raw_connection()
        with pytest.raises(Exception, match="does not exist"):
            await connection.driver_connection.execute("SELECT nothing")
        with pytest.raises(RolledBackError) as caught:
            await uow.items.count()
        await uow.rollback()

    assert "UniqueViolationError" not in str(caught.value)


async def test_an_error_of_the_connection_itself_is_remembered(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        connection = await uow.session.run_sync(lambda session: session.connection())
        with pytest.raises(UniqueViolationError):
            await uow.session.run_sync(lambda _: connection.execute(insert(Item).values(name="tea", price=1)))

    with pytest.raises(RolledBackError):
        await shop.run(work)


async def test_rollback_lets_the_block_go_on(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "coffee")
        with pytest.raises(UniqueViolationError):
            await violate(uow)
        await uow.rollback()
        seen.append(uow.outcome)
        await add_item(uow, "cocoa")
        seen.append(uow.outcome)

    seen: list[Outcome] = []
    await shop.run(work)

    assert await shop.names() == ["tea", "cocoa"]
    assert seen == [Outcome.ROLLED_BACK, Outcome.OPEN]


async def test_a_mistake_found_before_the_database_harms_nothing(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        with pytest.raises(Exception, match="bind parameter 'missing'"):
            await uow.session.execute(text("SELECT :missing"), {})

    await shop.run(work)

    assert await shop.names() == ["tea"]


async def test_a_value_that_does_not_fit_is_the_cause_too(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        with pytest.raises(InvalidDataError):
            await uow.items.create({"name": "tea", "price": "much"})

    async def inside_a_savepoint(uow: ShopUnitOfWork) -> None:
        with pytest.raises(RolledBackError, match="InvalidDataError was caught inside a savepoint"):
            async with uow.savepoint():
                await work(uow)
        await add_item(uow, "coffee")

    with pytest.raises(RolledBackError, match="InvalidDataError was caught") as caught:
        await shop.run(work)
    await shop.run(inside_a_savepoint)

    assert isinstance(caught.value.__cause__, InvalidDataError)
    assert await shop.names() == ["coffee"]


async def test_an_earlier_error_is_still_refused_after_a_savepoint(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        async with uow.savepoint():
            await add_item(uow, "coffee")
        with pytest.raises(UniqueViolationError):
            await violate(uow)
        with pytest.raises(Exception):  # noqa: B017, PT011  # PostgreSQL refuses the savepoint already
            async with uow.savepoint():
                raise KeyError

    with pytest.raises(RolledBackError) as caught:
        await shop.run(work)

    assert isinstance(caught.value.__cause__, UniqueViolationError)
    assert await shop.names() == ["tea"]


async def test_what_failed_inside_a_savepoint_leaves_the_rest_to_be_saved(shop: Shop) -> None:
    await shop.run(lambda uow: add_item(uow, "tea"))

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "coffee")
        with pytest.raises(UniqueViolationError):
            async with uow.savepoint():
                await violate(uow)
        await add_item(uow, "cocoa")

    await shop.run(work)

    assert await shop.names() == ["tea", "coffee", "cocoa"]


@pytest.mark.parametrize("is_inside_a_savepoint", [False, True])
async def test_a_timeout_that_was_caught_says_what_it_cost(async_shop: Shop, is_inside_a_savepoint: bool) -> None:
    async def wait_a_little(uow: ShopUnitOfWork) -> None:
        async with asyncio.timeout(0.1):
            await uow.session.execute(slow_query(async_shop.backend.server))

    async def work() -> None:
        async with async_shop.unit() as uow:
            units.append(uow)
            await add_item(uow, "tea")
            with pytest.raises(TimeoutError):
                if is_inside_a_savepoint:
                    async with uow.savepoint():
                        await wait_a_little(uow)
                else:
                    await wait_a_little(uow)
            with pytest.raises(RolledBackError, match="cut off by a cancellation or a timeout"):
                await add_item(uow, "coffee")

    units: list[ShopUnitOfWork] = []
    with pytest.raises(RolledBackError, match="Put the whole `async with` block inside the timeout"):
        await work()

    assert units[0].outcome is Outcome.ROLLED_BACK
    assert await async_shop.names() == []


async def test_an_error_of_a_listener_of_the_applications_is_not_taken_for_the_databases(shop: Shop) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("the search engine cannot be reached")

    async def work(uow: ShopUnitOfWork) -> None:
        event.listen(uow.session.sync_session, "before_flush", refuse)
        await add_item(uow, "tea")

    with pytest.raises(ConnectionError, match="search engine"):
        await shop.run(work)
