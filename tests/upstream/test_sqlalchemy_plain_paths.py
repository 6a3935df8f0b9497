"""The repository without what SQLAlchemy does not document: the same results, by the ORM's own path."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState

from layered_backend import CursorParams, PageParams
from layered_backend.upstream.sqlalchemy import events, mapper, result, schema
from layered_backend.upstream.verification import Undocumented
from tests.databases import Shop
from tests.shop import Item, ItemRead, ShopUnitOfWork
from tests.statements import Statements

_GONE = Undocumented(object, "gone")
_CACHED = (events.knows_listeners, mapper.can_register_written, result.has_option, schema.wrappers_of_defaults)


@pytest.fixture(autouse=True)
def _taken_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away all that only makes something faster, as a release would that renames it."""
    for each in _CACHED:
        each.cache_clear()
    monkeypatch.setattr(events, "_LISTENERS", (_GONE,))
    monkeypatch.setattr(mapper, "_REGISTERING", _GONE)
    monkeypatch.setattr(result, "_OWN_OPTIONS", _GONE)
    monkeypatch.setattr(schema, "_WRAPPING", _GONE)
    yield
    for each in _CACHED:
        each.cache_clear()


def _rows(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "price": Decimal(number)} for number, name in enumerate(names, start=1)]


async def test_one_row_is_written_by_the_orm(async_shop: Shop) -> None:
    async def write(uow: ShopUnitOfWork) -> None:
        tea = await uow.items.create({"name": "tea", "price": Decimal("1.50")})
        state: InstanceState[Any] = inspect(tea, raiseerr=True)
        assert state.persistent
        assert await uow.items.update(tea.id, {"note": "hot"}) is tea
        assert tea.note == "hot"

    async def change(uow: ShopUnitOfWork) -> None:
        with Statements(async_shop) as statements:
            tea = await uow.items.update((await uow.items.one()).id, {"note": "cold"})
        assert [sent.split()[0] for sent, _ in statements.sent] == ["SELECT", "SELECT", "UPDATE"]
        assert tea.note == "cold"

    async def delete(uow: ShopUnitOfWork) -> str:
        return (await uow.items.delete((await uow.items.one()).id)).name

    await async_shop.run(write)
    await async_shop.run(change)
    assert await async_shop.run(delete) == "tea"
    assert await async_shop.run(lambda uow: uow.items.count()) == 0


async def test_one_row_is_written_and_read_as_a_schema(async_shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> list[str]:
        items = uow.items.returning(ItemRead)
        tea = await items.create({"name": "tea", "price": Decimal(1)})
        renamed = await items.update(tea.id, {"name": "coffee"})
        deleted = await items.delete(tea.id)
        return [tea.name, renamed.name, deleted.name]

    assert await async_shop.run(work) == ["tea", "coffee", "coffee"]


async def test_many_rows_are_written(async_shop: Shop) -> None:
    async def write(uow: ShopUnitOfWork) -> tuple[int, int, int, int]:
        return (
            await uow.items.create_many(_rows("tea", "coffee", "milk")),
            await uow.items.upsert_many([{"name": "tea", "price": Decimal(9)}], on=Item.name),
            await uow.items.update_where(Item.price < 4, values={"note": "cheap"}),
            await uow.items.delete_where(Item.name == "milk"),
        )

    assert await async_shop.run(write) == (3, 1, 2, 1)
    stored = await async_shop.run(lambda uow: uow.items.list(order_by=Item.name))
    assert [(item.name, item.price, item.note) for item in stored] == [
        ("coffee", Decimal(2), "cheap"),
        ("tea", Decimal(9), None),
    ]
    assert all(item.created_at == item.updated_at for item in stored[1:])


async def test_pages_are_the_same(async_shop: Shop) -> None:
    await async_shop.run(lambda uow: uow.items.create_many(_rows("tea", "coffee", "milk")))

    async def read(uow: ShopUnitOfWork) -> tuple[list[str], list[str], int]:
        items = uow.items.project(ItemRead)
        first = await items.cursor_page(CursorParams(size=2), Item.price > 0, order_by=Item.name.desc())
        second = await items.cursor_page(
            CursorParams(size=2, cursor=first.next), Item.price > 0, order_by=Item.name.desc()
        )
        page = await items.page(PageParams(size=2), Item.price > 1)
        return [item.name for item in first.items], [item.name for item in second.items], page.total

    assert await async_shop.run(read) == (["tea", "milk"], ["coffee"], 2)


async def test_each_is_told_once(async_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        for number in range(3):
            await uow.items.returning(ItemRead).create({"name": f"tea {number}", "price": Decimal(1)})

    with caplog.at_level(logging.WARNING, "layered_backend"):
        await async_shop.run(work)
        await async_shop.run(lambda uow: uow.items.create_many(_rows("milk")))

    told = [message.partition(" is switched off")[0] for message in caplog.messages]
    assert sorted(told) == sorted(set(told))
    assert "Leaving out steps that nobody listens to" in told
