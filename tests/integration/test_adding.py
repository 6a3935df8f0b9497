"""Writing a new entity by its INSERT alone, and where the ORM's flush has to do it, on each database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.unitofwork import UOWTransaction

from layered_backend import InvalidDataError, RolledBackError, UniqueViolationError
from tests.databases import Shop
from tests.shop import Category, Item, ItemRead, ShopUnitOfWork, add_item
from tests.statements import Statements


def _state(entity: object) -> InstanceState[Any]:
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    return state


@contextmanager
def _heard(target: Any, name: str) -> Generator[list[str]]:
    """Listen to *name* while the block lasts, and yield how often it came."""
    heard: list[str] = []

    def listen(*_: object) -> None:
        heard.append(name)

    event.listen(target, name, listen)
    try:
        yield heard
    finally:
        event.remove(target, name, listen)


class _Flushes:
    """Counts the flushes that had something to do; without a listener, which would have the ORM flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        execute = UOWTransaction.execute

        def counted(flush: UOWTransaction) -> None:
            self.count += 1
            execute(flush)

        monkeypatch.setattr(UOWTransaction, "execute", counted)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> _Flushes:
    return _Flushes(monkeypatch)


class TestByItsInsert:
    async def test_a_new_entity_is_as_a_flush_would_leave_it(self, bound: Shop, flushes: _Flushes) -> None:
        async def work(uow: ShopUnitOfWork) -> Item:
            with Statements(bound) as statements:
                tea = await uow.items.create({"name": "tea", "price": Decimal("1.50")})
                assert [sent.split()[0] for sent, _ in statements.sent] == ["INSERT"]
                assert (tea.color, tea.note, tea.category_id) == ("white", None, None)
                assert tea.created_at == tea.updated_at
                assert await uow.items.get(tea.id) is tea
            assert flushes.count == 0
            assert _state(tea).persistent
            assert not uow.session.is_modified(tea)
            tea.note = "hot"
            return tea

        tea = await bound.run(work)

        stored = await bound.run(lambda uow: uow.items.one())
        assert flushes.count == 1
        assert (stored.id, stored.note, stored.price) == (tea.id, "hot", Decimal("1.50"))
        assert (stored.created_at, stored.color) == (tea.created_at, "white")

    async def test_a_key_that_python_makes_is_known(self, bound: Shop, flushes: _Flushes) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            document = await uow.documents.create({"title": "contract"})
            assert await uow.documents.get(document.id) is document

        await bound.run(work)
        assert flushes.count == 0

    async def test_none_is_what_the_column_has_by_default(self, bound: Shop, flushes: _Flushes) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea = await uow.items.create({"name": "tea", "price": 1, "color": None, "created_at": None})
            assert (tea.color, type(tea.created_at)) == ("white", datetime)

        await bound.run(work)
        assert flushes.count == 0

    async def test_a_savepoint_takes_the_entity_with_it(self, bound: Shop, flushes: _Flushes) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            kept = await add_item(uow, "cup")
            created: list[Item] = []
            with pytest.raises(ZeroDivisionError):
                async with uow.savepoint():
                    created.append(await add_item(uow, "tea"))
                    raise ZeroDivisionError
            assert _state(created[0]).transient
            assert created[0] not in uow.session
            assert kept in uow.session

        await bound.run(work)
        assert flushes.count == 0
        assert await bound.names() == ["cup"]

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ({"name": "tea", "price": 2}, UniqueViolationError),
            ({"name": "cup", "price": 2, "created_at": datetime(2026, 1, 1)}, InvalidDataError),  # noqa: DTZ001  # that is it
        ],
        ids=["by the database", "before it is sent"],
    )
    async def test_what_fails_undoes_as_much_as_a_flush(
        self, bound: Shop, flushes: _Flushes, values: dict[str, Any], error: type[Exception]
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(error):
                await uow.items.create(values)
            with pytest.raises(RolledBackError):
                await uow.items.count()

        with pytest.raises(RolledBackError):
            await bound.run(work)
        assert flushes.count == 0
        assert await bound.names() == []

    async def test_what_fails_in_a_savepoint_fails_alone(self, bound: Shop, flushes: _Flushes) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    await add_item(uow, "tea")
            await add_item(uow, "cup")

        await bound.run(work)
        assert flushes.count == 0
        assert await bound.names() == ["tea", "cup"]


class TestByFlush:
    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (Item, "before_insert"),
            (Item, "after_insert"),
            (Item, "refresh_flush"),
            (Session, "before_flush"),
            (Session, "after_flush"),
            (Session, "pending_to_persistent"),
        ],
    )
    async def test_who_listens_is_told(self, bound: Shop, target: Any, name: str) -> None:
        with _heard(target, name) as heard:
            await bound.run(lambda uow: add_item(uow, "tea"))
        assert heard == [name]

    @pytest.mark.parametrize("name", ["before_flush", "after_attach", "pending_to_persistent"])
    async def test_who_listens_to_this_session_is_told(self, bound: Shop, name: str) -> None:
        async def work(uow: ShopUnitOfWork) -> list[str]:
            with _heard(uow.session.sync_session, name) as heard:
                await add_item(uow, "tea")
                await uow.items.returning(ItemRead).create({"name": "cup", "price": 1})
            return heard

        assert await bound.run(work) == [name, name]

    async def test_what_is_pending_is_written_first(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            drinks = Category(name="drinks")
            uow.session.add(drinks)
            tea = Item(name="tea", price=Decimal(1), category=drinks)
            await uow.items.add(tea)
            assert tea.category_id == drinks.id is not None

        await bound.run(work)

    async def test_a_change_that_is_pending_is_written_too(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea = await add_item(uow, "tea")
            tea.name = "green tea"
            await add_item(uow, "tea")  # whose name is free only then

        await bound.run(work)
        assert await bound.names() == ["green tea", "tea"]

    async def test_what_an_entity_brings_along_is_written_before_it(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            drinks = Category(name="drinks")
            with Statements(bound) as statements:
                tea = await uow.items.add(Item(name="tea", price=Decimal(1), category=drinks))
            assert [sent.split()[0] for sent, _ in statements.sent] == ["INSERT", "INSERT"]
            assert tea.category_id == drinks.id is not None

        await bound.run(work)
