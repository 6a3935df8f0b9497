"""Cursor pages sorted by columns of every type, against the order that the database itself gives the same rows."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, literal, select, text, true
from sqlalchemy.orm import aliased

from layered_backend import BaseRepository, CursorPage, CursorParams, PageParams
from layered_backend.query.sort_terms import OrderBy
from tests.databases import Shop
from tests.samples_of_types import OWN_SAMPLES, SAMPLES, Base, Color, Sample
from tests.shop import ShopUnitOfWork

CASELESS_COLLATION = (
    "CREATE COLLATION IF NOT EXISTS caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)
DIRECTIONS: dict[str, Callable[[Any], Any]] = {
    "asc": lambda column: column,
    "desc": lambda column: column.desc(),
    "asc nulls first": lambda column: column.nulls_first(),
    "desc nulls last": lambda column: column.desc().nulls_last(),
}
Row = Mapping[str, Any]
on_each_database = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
async def samples(async_shop: Shop) -> AsyncGenerator[Shop]:
    server = async_shop.backend.server
    tables = [Sample.__table__, OWN_SAMPLES[server][0].__table__]
    async with async_shop.database.engine.begin() as connection:
        if server == "postgresql":
            await connection.execute(text(CASELESS_COLLATION))
        await connection.run_sync(Base.metadata.create_all, tables=tables)
    yield async_shop
    async with async_shop.database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all, tables=tables)


class Walk:
    """Pages of a class's rows in one order, forwards and backwards."""

    def __init__(self, uow: ShopUnitOfWork, model: type[Any], order_by: OrderBy, size: int) -> None:
        self._session = uow.session
        self._rows = BaseRepository(uow.session, model)
        self._model, self._order_by, self._size = model, order_by, size
        self._page: CursorPage[Any]

    async def store(self, rows: Sequence[Row]) -> None:
        """Replace all rows, each written by its own statement, as SQL expressions may be among the values."""
        await self._rows.delete_where(true())
        await self.add(rows)

    async def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            await self._session.execute(insert(self._model).values(**row))

    async def in_order(self) -> list[int]:
        """Return the keys of all rows as the database sorts them."""
        return [row.id for row in (await self._rows.slice(PageParams(size=100), order_by=self._order_by)).items]

    async def forwards(self, additions: Sequence[Sequence[Row]] = ()) -> list[Sequence[int]]:
        """Return the keys of each page, with *additions* between the pages, and be on the last page then."""
        self._page = await self._read(None)
        return [list(page) async for page in self._pages("next", additions)]

    async def backwards(self, additions: Sequence[Sequence[Row]] = ()) -> list[Sequence[int]]:
        """Return the keys of each page before the one that the walk is on, from back to front."""
        if self._page.previous is None:
            return []
        self._page = await self._read(self._page.previous)
        return [list(page)[::-1] async for page in self._pages("previous", additions)]

    async def _pages(self, side: str, additions: Sequence[Sequence[Row]]) -> AsyncGenerator[Sequence[int]]:
        waiting = list(additions)
        for _ in range(100):
            yield [row.id for row in self._page.items]
            cursor = getattr(self._page, side)
            if cursor is None:
                return
            if waiting:
                await self.add(waiting.pop())
            self._page = await self._read(cursor)
        pytest.fail("the pages come to no end")

    async def _read(self, cursor: str | None) -> CursorPage[Any]:
        return await self._rows.cursor_page(CursorParams(cursor=cursor, size=self._size), order_by=self._order_by)


def _joined(pages: Sequence[Sequence[int]]) -> list[int]:
    return [key for page in pages for key in page]


def _order_by(sort: Sequence[tuple[str, str]], model: type[Any]) -> OrderBy:
    return [DIRECTIONS[direction](getattr(model, column)) for column, direction in sort]


class TestEachType:
    @pytest.mark.parametrize("is_own", [False, True], ids=["common", "own"])
    @pytest.mark.parametrize("direction", sorted(DIRECTIONS))
    async def test_every_row_is_met_once_and_in_order(self, samples: Shop, direction: str, is_own: bool) -> None:
        model, columns = OWN_SAMPLES[samples.backend.server] if is_own else (Sample, SAMPLES)

        async def work(uow: ShopUnitOfWork) -> None:
            wrong: list[str] = []
            for column, (_, values) in columns.items():
                walk = Walk(uow, model, _order_by([(column, direction)], model), 3)
                await walk.store([{column: value} for value in (*values, None, *values, None)])
                expected = await walk.in_order()
                forwards, backwards = await walk.forwards(), await walk.backwards()
                if _joined(forwards) != expected or _joined(backwards) != _joined(forwards[:-1])[::-1]:
                    wrong.append(column)
            assert wrong == []

        await samples.run(work)


OTHER = aliased(Sample)
EXPRESSIONS: dict[str, tuple[str, Any]] = {
    "a decimal number times another": ("numeric", Sample.numeric * Decimal("1.0000001")),
    "a decimal number as a float": ("numeric_as_float", -Sample.numeric_as_float),
    "a 4-byte float times three": ("single", Sample.single * 3),
    "a related enum": ("color", select(OTHER.color).where(OTHER.id == Sample.id).scalar_subquery()),
    "an enum or another": ("color", func.coalesce(Sample.color, literal(Color.AMBER, Sample.color.type))),
    "an enum by another name": ("color", Sample.color.label("shade")),
    "a decorated column": ("rounded", func.coalesce(Sample.rounded, Sample.id)),
    "text in small letters": ("padded", func.lower(Sample.padded)),
    "padded text": ("char", func.coalesce(Sample.char, Sample.char)),
    "a function that SQLAlchemy does not know": ("padded", func.nullif(Sample.padded, "a")),
}


class TestExpressions:
    async def test_every_row_is_met_once_and_in_order(self, samples: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            wrong: list[str] = []
            for (name, (column, expression)), is_descending in itertools.product(EXPRESSIONS.items(), (False, True)):
                walk = Walk(uow, Sample, expression.desc() if is_descending else expression, 2)
                await walk.store([{column: value} for value in (*SAMPLES[column][1], None) * 2])
                expected = await walk.in_order()
                forwards, backwards = await walk.forwards(), await walk.backwards()
                if _joined(forwards) != expected or _joined(backwards) != _joined(forwards[:-1])[::-1]:
                    wrong.append(name)
            assert wrong == []

        await samples.run(work)


sorts = st.lists(
    st.tuples(st.sampled_from(sorted(SAMPLES)), st.sampled_from(sorted(DIRECTIONS))),
    min_size=1,
    max_size=3,
    unique_by=lambda term: term[0],
)


def _rows(columns: Sequence[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    values = {column: st.none() | st.sampled_from(SAMPLES[column][1]) for column in columns}
    return st.lists(st.fixed_dictionaries(values), max_size=8)


class TestAnyTypes:
    @on_each_database
    @given(data=st.data(), sort=sorts, size=st.integers(1, 3))
    async def test_whatever_is_sorted_by_walking_gives_the_whole_order_and_walking_back_its_reverse(
        self, samples: Shop, *, data: st.DataObject, sort: list[tuple[str, str]], size: int
    ) -> None:
        rows = data.draw(_rows([column for column, _ in sort]))

        async def work(uow: ShopUnitOfWork) -> None:
            walk = Walk(uow, Sample, _order_by(sort, Sample), size)
            await walk.store(rows)
            expected = await walk.in_order()

            forwards, backwards = await walk.forwards(), await walk.backwards()

            assert _joined(forwards) == expected
            assert all(len(page) == size for page in forwards[:-1])
            assert _joined(backwards) == _joined(forwards[:-1])[::-1]

        await samples.run(work)

    @on_each_database
    @given(data=st.data(), sort=sorts, size=st.integers(1, 3), is_backward=st.booleans())
    async def test_rows_that_come_between_pages_shift_none_of_those_that_were_there(
        self, samples: Shop, *, data: st.DataObject, sort: list[tuple[str, str]], size: int, is_backward: bool
    ) -> None:
        columns = [column for column, _ in sort]
        rows = data.draw(_rows(columns))
        additions = data.draw(st.lists(_rows(columns), max_size=3))

        async def work(uow: ShopUnitOfWork) -> None:
            walk = Walk(uow, Sample, _order_by(sort, Sample), size)
            await walk.store(rows)
            there = await walk.in_order()
            pages = await walk.forwards(() if is_backward else additions)
            if is_backward:
                there = there[: len(there) - len(pages[-1])][::-1]
                pages = await walk.backwards(additions)
            met = _joined(pages)

            assert len(met) == len(set(met))
            assert [key for key in met if key in there] == there

        await samples.run(work)
