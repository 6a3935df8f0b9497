"""Writes of many rows: their order, and the index of the row that an error is about, on each database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from layered_backend import (
    BaseRepository,
    DeadlockError,
    InvalidDataError,
    LayeredError,
    NotFoundError,
    NotNullViolationError,
    StaleError,
    UniqueViolationError,
    UnknownFieldError,
)
from tests.databases import Shop
from tests.samples import Reader, repository_of, with_samples
from tests.shop import Item, ShopUnitOfWork
from tests.statements import Statements

Write = Callable[[BaseRepository[Any]], Awaitable[Any]]


@pytest.fixture
async def mapped(shop: Shop) -> AsyncGenerator[Shop]:
    async for prepared in with_samples(shop):
        yield prepared


def _rows(*names: str, **values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "price": Decimal(1), **values} for name in names]


async def _index(shop: Shop, write: Write) -> tuple[type[LayeredError], int | None]:
    """Return the error of a write of items, and the index that it carries."""
    with pytest.raises(LayeredError) as caught:
        await shop.run(lambda uow: write(uow.items))
    return type(caught.value), caught.value.index


class TestErrors:
    async def test_the_index_is_the_callers_in_whatever_order_the_rows_are_written(self, shop: Shop) -> None:
        rows = _rows("e", "d", "c", "b", "a")

        def broken(**changes: Any) -> list[dict[str, Any]]:
            return [row | changes if row["name"] == "c" else row for row in rows]

        for write in ("create_many", "upsert_many"):
            options = {"on": Item.name} if write == "upsert_many" else {}

            def of(data: Any, write: str = write, options: Any = options) -> Write:
                return lambda items: getattr(items, write)(data, **options)

            assert await _index(shop, of(broken(prise=2))) == (UnknownFieldError, 2)
            assert await _index(shop, of(broken(price=object()))) == (InvalidDataError, 2)
            assert await _index(shop, of(broken(price=None))) == (NotNullViolationError, 2)
            assert await _index(shop, of(row for row in broken(price=None))) == (NotNullViolationError, 2)
        assert await _index(shop, lambda items: items.create_many([*rows, {"name": "d", "price": 1}])) == (
            UniqueViolationError,
            5,
        )
        assert await shop.names() == []

    async def test_one_that_cannot_be_known_is_none(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many(_rows("b")))

        assert await _index(shop, lambda items: items.create_many(_rows("a", "b"))) == (UniqueViolationError, None)
        assert await _index(shop, lambda items: items.create_many(_rows("b"))) == (UniqueViolationError, 0)


class TestOrder:
    @pytest.mark.parametrize("write", ["create_many", "upsert_many"])
    @pytest.mark.parametrize("step", [1, -1])
    async def test_a_row_may_come_before_the_one_that_it_refers_to(self, shop: Shop, write: str, step: int) -> None:
        rows = [{"id": 7, "name": "first", "price": 1, "replaces_id": None}]
        rows += [{"id": key, "name": f"item {key}", "price": 1, "replaces_id": key + 1} for key in range(6, 0, -1)]

        await shop.run(lambda uow: getattr(uow.items, write)(rows[::step]))

        assert await shop.run(lambda uow: uow.items.count()) == 7

    @pytest.mark.parametrize("mixed", [False, True])
    async def test_upserts_of_the_same_keys_in_another_order_do_not_deadlock(
        self, async_shop: Shop, mixed: bool
    ) -> None:
        names = [f"item {number:03}" for number in range(300)]
        random.Random(3).shuffle(names)  # noqa: S311  # no secret
        orders = (names, names[::-1])
        deadlocks: list[DeadlockError] = []

        async def write(number: int) -> None:
            rows = _rows(*orders[number % 2])
            if mixed:
                rows = [row if hash((row["name"], number)) % 2 else row | {"note": "hot"} for row in rows]
            try:
                await async_shop.run(lambda uow: uow.items.upsert_many(rows, on=Item.name))
            except DeadlockError as error:
                deadlocks.append(error)

        for _ in range(2):
            await asyncio.gather(*map(write, range(4)))

        assert deadlocks == []


class TestUpdateMany:
    async def test_each_row_is_changed_by_its_own_values(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create_many(_rows("a", "b", "c"))
            first, _, third = await uow.items.list()
            assert await uow.items.update_many([{"id": third.id, "note": "x"}, {"id": first.id, "price": 5}]) == 2
            assert (first.price, third.note) == (Decimal(5), "x")

        await shop.run(work)
        stored = await shop.run(lambda uow: uow.items.list())
        assert [(item.price, item.note) for item in stored] == [
            (Decimal(5), None),
            (Decimal(1), None),
            (Decimal(1), "x"),
        ]

    async def test_the_result_is_the_same_in_whatever_order_the_rows_come(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many(_rows("a", "b", "c")))
        keys = [item.id for item in await shop.run(lambda uow: uow.items.list())]
        rows: list[dict[str, Any]] = [{"id": key, "shelf": number} for number, key in enumerate(keys)]

        async def some() -> AsyncGenerator[dict[str, Any]]:
            for row in rows[::-1]:
                yield row

        await shop.run(lambda uow: uow.items.update_many(some()))

        assert [item.shelf for item in await shop.run(lambda uow: uow.items.list())] == [0, 1, 2]

    async def test_what_cannot_be_done_is_refused_with_its_index(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many(_rows("a", "b")))
        one, two = [item.id for item in await shop.run(lambda uow: uow.items.list())]
        good = {"id": one, "note": "x"}

        def of(*rows: dict[str, Any]) -> Write:
            return lambda items: items.update_many(rows)

        assert await _index(shop, of(good, {"id": 10**30})) == (InvalidDataError, 1)
        assert await _index(shop, of({"id": 900, "note": "x"}, good)) == (NotFoundError, 0)
        assert await _index(shop, of(good, {"note": "x"})) == (InvalidDataError, 1)
        assert await _index(shop, of(good, {"id": two, "nite": "x"})) == (UnknownFieldError, 1)
        assert await _index(shop, of(good, {"id": two}, {"id": one})) == (InvalidDataError, 2)
        assert await _index(shop, of({"id": two, "price": None}, good)) == (NotNullViolationError, 0)
        assert {item.note for item in await shop.run(lambda uow: uow.items.list())} == {None}

    async def test_a_version_that_was_read_is_compared(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            readers = repository_of(uow, Reader)
            await readers.create_many([{"address": "a"}, {"address": "b"}])
            first, second = await readers.list()
            await readers.update_many([{"id": second.id, "note": "x", "version": 1}, {"id": first.id, "note": "y"}])
            assert [first.version, second.version] == [2, 2]
            with pytest.raises(StaleError) as caught:
                await readers.update_many([{"id": first.id, "note": "z"}, {"id": second.id, "note": "z", "version": 1}])
            assert caught.value.index == 1
            await uow.rollback()

        await mapped.run(work)


async def test_an_upsert_writes_and_reads_by_one_statement_each(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        for price in (1, 2):
            with Statements(shop) as statements:
                item = await uow.items.upsert({"name": "tea", "price": price}, on=Item.name)
            assert len(statements.sent) == 2
            assert item.price == price
            uow.session.expunge(item)

    await shop.run(work)
