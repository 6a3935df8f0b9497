"""Pages, slices, cursor pages and filters, against what Python makes of the same rows."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, true
from sqlalchemy.orm import joinedload, selectinload

from layered_backend import (
    CursorPage,
    CursorParams,
    FilterSet,
    InvalidCursorError,
    PageParams,
    Sorting,
    Where,
)
from layered_backend.query.sort_terms import OrderBy
from tests.databases import Shop
from tests.shop import Category, Item, ItemRead, ItemService, ShopUnitOfWork
from tests.statements import Statements

on_each_database = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

COLUMNS: dict[str, Any] = {
    name: getattr(Item, name) for name in ("note", "shelf", "price", "color", "name", "created_at", "id")
}
DIRECTIONS: dict[str, Callable[[Any], Any]] = {
    "asc": lambda column: column,
    "desc": lambda column: column.desc(),
    "asc nulls first": lambda column: column.nulls_first(),
    "desc nulls last": lambda column: column.desc().nulls_last(),
}
terms = st.tuples(st.sampled_from(sorted(COLUMNS)), st.sampled_from(sorted(DIRECTIONS)))
sorts = st.lists(terms, max_size=3, unique_by=lambda term: term[0])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "note": st.none() | st.sampled_from("abc"),
            "shelf": st.none() | st.integers(0, 2),
            "price": st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("2.25")]),
            "color": st.sampled_from("rgb"),
            "created_at": st.sampled_from([datetime(2024, 2, 29, 23, 59, 59, part, tzinfo=UTC) for part in (0, 1, 10)]),
        }
    ),
    max_size=9,
)


def _order_by(sort: Sequence[tuple[str, str]]) -> OrderBy:
    return [DIRECTIONS[direction](COLUMNS[column]) for column, direction in sort]


def _compare(sort: Sequence[tuple[str, str]], one: dict[str, Any], other: dict[str, Any]) -> int:
    for column, direction in sort:
        left, right = one[column], other[column]
        if left == right:
            continue
        nulls_first = "first" in direction or direction == "desc"
        if left is None or right is None:
            return -1 if (left is None) == nulls_first else 1
        return -1 if (left < right) != direction.startswith("desc") else 1
    is_descending = bool(sort) and sort[-1][1].startswith("desc")  # the primary key goes on in the last direction
    return int(one["id"] - other["id"]) * (-1 if is_descending else 1)


def _sorted(sort: Sequence[tuple[str, str]], stored: Sequence[dict[str, Any]]) -> list[int]:
    in_order = sorted(stored, key=functools.cmp_to_key(functools.partial(_compare, sort)))
    return [row["id"] for row in in_order]


async def _store(uow: ShopUnitOfWork, values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace all items, and return the new ones, with the keys that the database gave them."""
    await uow.items.delete_where(true())
    named = [{**row, "name": f"item {number}"} for number, row in enumerate(values)]
    assert await uow.items.create_many(named) == len(values)
    ids = [item.id for item in await uow.items.list()]
    return [{**row, "id": item_id} for row, item_id in zip(named, ids, strict=True)]


async def _pages(
    uow: ShopUnitOfWork, params: CursorParams, *, order_by: OrderBy, backward: bool = False
) -> AsyncGenerator[CursorPage[Item]]:
    """Follow the cursors from a page to the end."""
    while True:
        page = await uow.items.cursor_page(params, order_by=order_by)
        yield page
        cursor = page.previous if backward else page.next
        if cursor is None:
            return
        params = CursorParams(cursor=cursor, size=params.size)


def _ids(pages: Sequence[CursorPage[Item]]) -> list[int]:
    return [item.id for page in pages for item in page.items]


class TestCursorPages:
    @on_each_database
    @given(rows, sorts, st.integers(1, 4))
    async def test_walking_gives_the_whole_order_and_walking_back_its_reverse(
        self, async_shop: Shop, values: list[dict[str, Any]], sort: list[tuple[str, str]], size: int
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            stored = await _store(uow, values)
            expected, order_by = _sorted(sort, stored), _order_by(sort)

            forwards = [page async for page in _pages(uow, CursorParams(size=size), order_by=order_by)]
            assert _ids(forwards) == expected
            assert forwards[0].previous is None
            assert all(len(page.items) == size for page in forwards[:-1])

            last = forwards[-1]
            if last.previous is not None:
                params = CursorParams(cursor=last.previous, size=size)
                backwards = [page async for page in _pages(uow, params, order_by=order_by, backward=True)]
                assert _ids(backwards[::-1]) == expected[: len(expected) - len(last.items)]
                assert all(page.next for page in backwards)

            numbered = [
                await uow.items.page(PageParams(page=number, size=size), order_by=order_by) for number in (1, 2, 99)
            ]
            assert [[item.id for item in page.items] for page in numbered[:2]] == [
                expected[:size],
                expected[size : 2 * size],
            ]
            assert [(page.total, list(page.items)) for page in numbered[2:]] == [(len(expected), [])]

        await async_shop.run(work)

    @on_each_database
    @given(
        values=rows,
        sort=sorts,
        size=st.integers(1, 3),
        backward=st.booleans(),
        changes=st.lists(st.integers(0, 8) | rows.filter(bool), max_size=4),
    )
    async def test_whatever_comes_and_goes_what_stays_is_met_once_and_in_order(
        self,
        async_shop: Shop,
        *,
        values: list[dict[str, Any]],
        sort: list[tuple[str, str]],
        size: int,
        backward: bool,
        changes: list[int | list[dict[str, Any]]],
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            stored = await _store(uow, values)
            order_by, expected = _order_by(sort), _sorted(sort, stored)
            params, waiting, numbers = CursorParams(size=size), list(changes), itertools.count()
            if backward:
                *_, last = [page async for page in _pages(uow, params, order_by=order_by)]
                if last.previous is None:
                    return
                params, expected = CursorParams(cursor=last.previous, size=size), expected[: -len(last.items)]

            met: list[int] = []
            async for page in _pages(uow, params, order_by=order_by, backward=backward):
                met += _ids([page])[:: -1 if backward else 1]
                change = waiting.pop() if waiting else ()
                if not isinstance(change, int):
                    await uow.items.create_many({**row, "name": f"item {next(numbers)}x"} for row in change)
                elif change < len(expected):
                    await uow.items.delete_where(Item.id == expected[change])
                    gone.add(expected[change])

            assert len(met) == len(set(met))
            stayed = [row for row in expected if row not in gone]
            assert [row for row in met if row in stayed] == stayed[:: -1 if backward else 1]

        gone: set[int] = set()
        await async_shop.run(work)

    async def test_rows_that_come_and_go_between_pages_shift_nothing(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _store(uow, [{"price": Decimal(price)} for price in (1, 2, 2, 3, 4)])
            order_by = Item.price.desc()
            first = await uow.items.cursor_page(CursorParams(size=2), order_by=order_by)
            assert [item.price for item in first.items] == [4, 3]

            await uow.items.create({"name": "in front", "price": 9})
            await uow.items.create({"name": "behind", "price": Decimal("2.5")})
            await uow.items.delete(first.items[1])
            second = await uow.items.cursor_page(CursorParams(cursor=first.next, size=3), order_by=order_by)
            assert [item.price for item in second.items] == [Decimal("2.5"), 2, 2]

            back = await uow.items.cursor_page(CursorParams(cursor=second.previous, size=5), order_by=order_by)
            assert [item.price for item in back.items] == [9, 4]
            assert back.previous is None

        await shop.run(work)

    async def test_an_empty_page_leads_back_to_the_row_that_it_began_behind(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            stored = await _store(uow, [{"price": Decimal(1)}] * 3)
            first = await uow.items.cursor_page(CursorParams(size=2))
            await uow.items.delete(stored[2]["id"])

            empty = await uow.items.cursor_page(CursorParams(cursor=first.next, size=2))
            assert (list(empty.items), empty.next) == ([], None)
            back = await uow.items.cursor_page(CursorParams(cursor=empty.previous, size=2))
            assert [item.id for item in back.items] == [stored[0]["id"], stored[1]["id"]]

        await shop.run(work)

    async def test_a_cursor_is_of_one_sort_and_one_filter(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _store(uow, [{"price": Decimal(price)} for price in (1, 2, 3)])
            page = await uow.items.cursor_page(CursorParams(size=1), Item.price < 5, order_by=Item.price)
            foreign = CursorParams(cursor=page.next, size=1)

            assert (await uow.items.cursor_page(foreign, Item.price < 5, order_by=Item.price)).items[0].price == 2
            for where, order_by in ((Item.price < 6, Item.price), (Item.price < 5, Item.name), (true(), Item.price)):
                with pytest.raises(InvalidCursorError):
                    await uow.items.cursor_page(foreign, where, order_by=order_by)
            with pytest.raises(InvalidCursorError):
                await uow.items.cursor_page(CursorParams(cursor="rubbish"))

        await shop.run(work)

    async def test_rows_are_sorted_by_what_is_related_to_them(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for name, items in (("food", ("bread",)), ("drinks", ("tea", "cocoa"))):
                category = await uow.categories.create({"name": name})
                for item in items:
                    await uow.items.create({"name": item, "price": 1, "category_id": category.id})
            await uow.items.create({"name": "alone", "price": 1})
            related = select(Category.name).where(Category.id == Item.category_id).scalar_subquery()

            pages = _pages(uow, CursorParams(size=1), order_by=[related, Item.name.desc()])
            assert [item.name async for page in pages for item in page.items] == ["tea", "cocoa", "bread", "alone"]

        await shop.run(work)

    async def test_options_load_with_the_page_and_do_not_change_it(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for name in ("drinks", "food", "toys"):
                category = await uow.categories.create({"name": name})
                for number in range(3):
                    await uow.items.create({"name": f"{name} {number}", "price": 1, "category_id": category.id})
            uow.session.expunge_all()

            options = [joinedload(Category.items)]
            page = await uow.categories.page(PageParams(size=2), options=options)
            cursors = await uow.categories.cursor_page(CursorParams(size=2), order_by=Category.name, options=options)
            cut = await uow.categories.slice(PageParams(page=2, size=2), options=[selectinload(Category.items)])

            assert [len(category.items) for category in (*page.items, *cursors.items, *cut.items)] == [3] * 5
            assert (page.total, cut.has_next, [category.name for category in cut.items]) == (3, False, ["toys"])

        await shop.run(work)


class TestPagesFarBehind:
    async def test_have_their_rows_and_the_total_whether_they_are_full_or_not(self, async_shop: Shop) -> None:
        count = 10_130

        async def work(uow: ShopUnitOfWork) -> None:
            values = [{"name": f"item {number:06}", "price": 1, "shelf": number % 2} for number in range(count)]
            await uow.items.create_many(values)
            for number in (200, 201, 202, 203, 204, 999):
                params, expected = PageParams(page=number, size=50), values[(number - 1) * 50 : number * 50]
                page = await uow.items.page(params)
                projected = await uow.items.project(ItemRead).page(params, order_by=Item.name)
                assert [item.name for item in page.items] == [value["name"] for value in expected]
                assert [item.name for item in projected.items] == [value["name"] for value in expected]
                assert page.total == projected.total == count
            odd = await uow.items.page(PageParams(page=999), Item.shelf == 1)
            assert (list(odd.items), odd.total) == ([], count // 2)

        await async_shop.run(work)

    async def test_count_by_themselves_and_not_where_the_last_one_tells(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create_many({"name": f"item {number}", "price": 1} for number in range(10_070))
            for number, expected in ((200, 1), (201, 2), (202, 1), (203, 2)):
                with Statements(async_shop) as statements:
                    assert (await uow.items.page(PageParams(page=number, size=50))).total == 10_070
                assert len(statements.sent) == expected

        await async_shop.run(work)


class ItemFilter(FilterSet):
    color: Annotated[list[str] | None, Where(Item.color.in_)] = None
    note: Annotated[str | None, Where(Item.note.icontains)] = None
    note_has: Annotated[str | None, Where(Item.note.contains)] = None
    note_starts: Annotated[str | None, Where(Item.note.startswith)] = None
    note_ends: Annotated[str | None, Where(Item.note.endswith)] = None
    dearer_than: Annotated[Decimal | None, Where(lambda price: Item.price > price)] = None
    has_shelf: Annotated[bool | None, Where(lambda has: Item.shelf.is_not(None) if has else Item.shelf.is_(None))] = (
        None
    )


class ItemSorting(Sorting):
    keys = {"color": Item.color, "price": Item.price}  # noqa: RUF012  # declared so by Sorting
    default = "-price"


class ItemQuery(ItemFilter, ItemSorting, PageParams):
    pass


def _meets(query: ItemFilter, row: dict[str, Any]) -> bool:
    note: str | None = row["note"]
    return (
        (query.color is None or row["color"] in query.color)
        and (query.note is None or (note is not None and query.note.lower() in note.lower()))
        and (query.note_has is None or (note is not None and query.note_has in note))
        and (query.note_starts is None or (note is not None and note.startswith(query.note_starts)))
        and (query.note_ends is None or (note is not None and note.endswith(query.note_ends)))
        and (query.dearer_than is None or row["price"] > query.dearer_than)
        and (query.has_shelf is None or (row["shelf"] is not None) == query.has_shelf)
    )


texts = st.none() | st.none() | st.text("aB%_\\/", max_size=2)  # a filter that is not there more often than one that is
filters = st.builds(
    ItemFilter,
    color=st.none() | st.lists(st.sampled_from("rgb"), max_size=2),
    note=texts,
    note_has=texts,
    note_starts=texts,
    note_ends=texts,
    dearer_than=st.none() | st.decimals(0, 3, places=1),
    has_shelf=st.none() | st.booleans(),
)
rows_with_notes = st.lists(
    st.fixed_dictionaries(
        {
            "note": st.none() | st.text("Ab%_\\/", max_size=4),
            "shelf": st.none() | st.integers(0, 2),
            "price": st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("2.25")]),
            "color": st.sampled_from("rgb"),
        }
    ),
    max_size=6,
)


class TestFilters:
    @on_each_database
    @given(rows_with_notes, st.lists(filters, min_size=1, max_size=4))
    async def test_a_filter_set_keeps_what_python_would(
        self, async_shop: Shop, values: list[dict[str, Any]], queries: list[ItemFilter]
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            stored = await _store(uow, values)
            for query in queries:
                found = await uow.items.list(*query.where())
                assert [item.id for item in found] == [row["id"] for row in stored if _meets(query, row)], query

        await async_shop.run(work)

    async def test_a_page_takes_the_filters_and_the_sort_of_its_query_model(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _store(
                uow, [{"price": Decimal(price), "color": color} for price, color in ((1, "r"), (3, "g"), (2, "r"))]
            )

            by_default = await uow.items.page(ItemQuery(color=["r"]))
            by_client = await uow.items.page(ItemQuery(sort="color,price"), Item.price > 1)
            by_caller = await ItemService.of(uow).page(ItemQuery(), order_by=Item.id)
            overruled = await uow.items.slice(ItemQuery(sort="-price", size=1), order_by=Item.id)

            assert [item.price for item in by_default.items] == [2, 1]
            assert by_default.total == 2
            assert [item.price for item in by_client.items] == [3, 2]
            assert [item.price for item in by_caller.items] == [1, 3, 2]
            assert [item.price for item in overruled.items] == [3]
            assert overruled.has_next

        await shop.run(work)

    async def test_criteria_on_related_rows_repeat_nothing_and_leave_the_total_right(self, shop: Shop) -> None:
        class CategoryFilter(FilterSet):
            item: Annotated[str | None, Where(lambda color: Category.items.any(Item.color == color))] = None

        class CategoryQuery(CategoryFilter, PageParams):
            pass

        async def work(uow: ShopUnitOfWork) -> None:
            for name in ("drinks", "food"):
                category = await uow.categories.create({"name": name})
                for number in range(3):
                    await uow.items.create({"name": f"{name} {number}", "price": 1, "category_id": category.id})

            white = await uow.categories.page(CategoryQuery(item="white", size=1))
            red = await uow.categories.page(CategoryQuery(item="red"))

            assert ([category.name for category in white.items], white.total, white.pages) == (["drinks"], 2, 2)
            assert (list(red.items), red.total) == ([], 0)

        await shop.run(work)
