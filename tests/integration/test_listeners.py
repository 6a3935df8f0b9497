"""Listeners of the application's to a commit, a rollback or a flush: what they do, and what they raise, leaves no lie."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from layered_backend import LayeredError, Outcome, RolledBackError, UnitOfWorkError
from tests.databases import Shop
from tests.shop import Category, Item, ShopUnitOfWork, add_item


def _swallow_an_error(session: Session) -> None:
    with suppress(LayeredError, SQLAlchemyError):
        session.execute(text("SELECT * FROM missing"))


def _raise(*_: object) -> None:
    raise KeyError("listener")


@contextmanager
def _listening(shop: Shop, name: str) -> Generator[None]:
    """Have a listener to *name* of the shop's engine raise."""
    engine = shop.database.engine.sync_engine if shop.backend.asynchronous else shop.database.sync_engine
    event.listen(engine, name, _raise)
    try:
        yield
    finally:
        event.remove(engine, name, _raise)


async def test_a_commit_is_refused_where_its_listener_has_caught_an_error(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "tea")
        event.listen(uow.session.sync_session, "before_commit", _swallow_an_error)

    with pytest.raises(RolledBackError, match="was caught"):
        await shop.run(work)

    assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK]
    assert await shop.names() == []


async def test_a_commit_in_mid_block_is_refused_likewise_and_a_rollback_mends_it(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        event.listen(uow.session.sync_session, "before_commit", _swallow_an_error, once=True)
        with pytest.raises(RolledBackError, match="was caught"):
            await uow.commit()
        await uow.rollback()
        await add_item(uow, "coffee")

    await shop.run(work)

    assert await shop.names() == ["coffee"]


async def test_a_hook_that_a_listener_to_the_commit_adds_runs_once(shop: Shop) -> None:
    ran: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        def add_hook(session: Session) -> None:
            uow.on_commit(lambda: ran.append("hook"))

        event.listen(uow.session.sync_session, "before_commit", add_hook, once=True)
        await add_item(uow, "tea")
        await uow.commit()
        await add_item(uow, "coffee")

    await shop.run(work)

    assert ran == ["hook"]


async def test_a_listener_that_raises_after_the_commit_does_not_have_its_hooks_run_again(shop: Shop) -> None:
    ran: list[str] = []
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        uow.on_commit(lambda: ran.append("hook"))
        await add_item(uow, "tea")
        event.listen(uow.session.sync_session, "after_commit", _raise)
        with pytest.raises(KeyError):
            await uow.commit()
        assert (ran, uow.outcome) == (["hook"], Outcome.COMMITTED)
        event.remove(uow.session.sync_session, "after_commit", _raise)
        await add_item(uow, "coffee")

    await shop.run(work)

    assert ran == ["hook"]
    assert [unit.outcome for unit in units] == [Outcome.COMMITTED]
    assert await shop.names() == ["tea", "coffee"]


async def test_a_listener_of_the_engine_that_forbids_the_commit_leaves_no_transaction_in_the_pool(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "tea")

    with _listening(shop, "commit"), pytest.raises(KeyError):
        await shop.run(work)
    await shop.run(lambda uow: add_item(uow, "coffee"))  # whose commit is not the first one's

    assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK]
    assert await shop.names() == ["coffee"]


async def test_a_listener_of_the_engine_that_raises_at_the_rollback_costs_no_connection(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        raise ZeroDivisionError

    with _listening(shop, "rollback"), pytest.raises(ZeroDivisionError):
        await shop.run(work)

    assert shop.checked_out == 0
    assert await shop.names() == []


async def test_a_rollback_in_mid_block_whose_listener_raises_has_undone_the_work(shop: Shop) -> None:
    ran: list[str] = []
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "tea")
        uow.on_commit(lambda: ran.append("hook"))
        with _listening(shop, "rollback"), pytest.raises(KeyError):
            await uow.rollback()

    await shop.run(work)

    assert (ran, [unit.outcome for unit in units]) == ([], [Outcome.ROLLED_BACK])
    assert await shop.names() == []


async def test_a_listener_to_the_flush_can_open_a_savepoint(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        def add_category(session: Session, *_: Any) -> None:
            with session.begin_nested():
                session.execute(insert(Category).values(name="drinks"))

        event.listen(uow.session.sync_session, "before_flush", add_category, once=True)
        uow.session.add(Item(name="tea", price=1))
        await uow.flush()
        assert await uow.categories.count() == 1

    await shop.run(work)

    assert await shop.names() == ["tea"]


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_the_transaction_of_the_connection_can_be_read_and_not_ended(shop: Shop, end: str) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")

        def end_it(session: Session) -> None:
            transaction = session.connection().get_transaction()
            assert transaction is not None
            assert transaction.is_active
            with pytest.raises(UnitOfWorkError, match=end):
                getattr(transaction, end)()

        await uow.session.run_sync(end_it)

    await shop.run(work)

    assert await shop.names() == ["tea"]


@pytest.mark.parametrize("end", ["close", "detach"])
async def test_the_connection_cannot_be_taken_from_the_unit_of_work(shop: Shop, end: str) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        with pytest.raises(UnitOfWorkError, match=end):
            await uow.session.run_sync(lambda session: getattr(session.connection(), end)())

    await shop.run(work)

    assert await shop.names() == ["tea"]
