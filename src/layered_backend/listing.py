"""Listings: lists and pages of rows, each row an entity or a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Dialect, Select
from sqlalchemy.orm import Mapper

from layered_backend.dialects import dialect_named
from layered_backend.query import (
    Criterion,
    CursorPage,
    CursorParams,
    FilterSet,
    NumberedParams,
    OrderBy,
    Page,
    Slice,
    Sorting,
)
from layered_backend.query.cursor import Cursor, fingerprint
from layered_backend.query.joined_tables import checked_criteria
from layered_backend.query.keyset import Keyset, KeysetOrder, order_of, place_parameters
from layered_backend.query.parameters import QueryModel
from layered_backend.query.sort_terms import listed, order_by_clauses, total_order
from layered_backend.query.statements import Statements, cut_parameters, total

__all__ = ["Listing", "RowSource", "read_on"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_FAR = 10_000  # rows before the page: computing the total in each costs PostgreSQL as much as a second statement


class RowSource(Protocol[T_co]):
    """A source of the rows of one mapped class, each as an item."""

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the mapped class."""
        ...

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect of the database."""
        ...

    @property
    def statements(self) -> Statements:
        """The statements over all rows."""
        ...

    async def rows(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> tuple[Sequence[T_co], Sequence[Sequence[Any]]]:
        """Return the items that *statement* selects, and the rows that they were made of."""
        ...

    async def count(self, *where: Criterion) -> int:
        """Return the number of rows that meet the criteria."""
        ...


@dataclass(frozen=True)
class Listing(Generic[T]):
    """The rows that meet criteria, in an order without ties, to be read page by page. Lives as long as one call."""

    source: RowSource[T]
    where: Sequence[Criterion]
    order_by: OrderBy | None

    @classmethod
    def asked_for(
        cls, source: RowSource[T], params: QueryModel, where: Sequence[Criterion], order_by: OrderBy | None
    ) -> Listing[T]:
        """Return the listing, with the filters and the sort of *params* added.

        A sort that the client names replaces *order_by*; the default of the class does so only if there is no *order_by*.
        """
        if isinstance(params, FilterSet):
            where = (*where, *params.where())
        if isinstance(params, Sorting) and (params.sort or order_by is None):
            order_by = params.order_by()
        return cls(source, where, order_by)

    async def list(self, limit: int | None, offset: int | None) -> Sequence[T]:
        """Return all items from *offset* on, at most *limit* of them; sorted by primary key where nothing else is said.

        Raises:
            InvalidDataError: *limit* or *offset* is negative.
        """
        statements = self.source.statements
        is_cut, order_by = limit is not None or offset is not None, listed(self.source.mapper, self.order_by)
        statement = statements.cut if is_cut else statements.sorted
        if order_by:
            statement = statement.order_by(None).order_by(*order_by)
        statement = statements.meeting(self.where, statement)
        items, _ = await self.source.rows(statement, cut_parameters(limit, offset) if is_cut else None)
        return items

    async def page(self, params: NumberedParams) -> Page[T]:
        """Return one page; the total comes with its rows, in the same statement, unless that is far behind."""
        if params.offset >= _FAR:
            return await self._page_far_behind(params)
        statement = (
            self.source.statements.page
            if self._is_of_all
            else self._cut().add_columns(total(self._selected(self.source.statements.count)))
        )
        items, rows = await self.source.rows(statement, cut_parameters(params.size, params.offset))
        count = rows[0][-1] if rows else await self._count_behind(params)
        return Page(items, count, params.page, params.size)

    async def slice(self, params: NumberedParams) -> Slice[T]:
        """Return one page, and whether there is another: one row more is read to know."""
        statement = self.source.statements.cut if self._is_of_all else self._cut()
        items, _ = await self.source.rows(statement, cut_parameters(params.size + 1, params.offset))
        return Slice(items[: params.size], params.page, params.size, len(items) > params.size)

    async def cursor_page(self, params: CursorParams, *, total: bool) -> CursorPage[T]:
        """Return the page at a cursor, with the total if that is asked for.

        Raises:
            InvalidCursorError: The cursor is broken, or was made for another sort or filter.
        """
        mapper, dialect = self.source.mapper, self.source.dialect
        checked_criteria(mapper, self.where)  # before they are compiled for the fingerprint
        order = order_of(self.source.statements, self.order_by, dialect)
        mark = (
            fingerprint(order.terms, self.where, str(mapper.local_table), dialect) if self.where else order.fingerprint
        )
        keyset = Keyset.of(params, order.keys, mark)
        items, rows = await read_on(self.source, order, self.where, keyset.cursor, params.size + 1)
        page = keyset.page(items, rows)
        if not total:
            return page
        is_whole = page.next is None and page.previous is None
        return replace(page, total=len(page.items) if is_whole else await self.source.count(*self.where))

    async def _page_far_behind(self, params: NumberedParams) -> Page[T]:
        """Return one page without the total in its rows: a database computes it for the rows that it passes over too."""
        statement = self.source.statements.cut if self._is_of_all else self._cut()
        items, _ = await self.source.rows(statement, cut_parameters(params.size, params.offset))
        is_last = 0 < len(items) < params.size
        count = params.offset + len(items) if is_last else await self.source.count(*self.where)
        return Page(items, count, params.page, params.size)

    async def _count_behind(self, params: NumberedParams) -> int:
        """Return the number of rows for a page that has none to tell it."""
        return 0 if params.offset == 0 else await self.source.count(*self.where)

    @property
    def _is_of_all(self) -> bool:
        return not self.where and self.order_by is None

    def _selected(self, statement: Select[Any]) -> Select[Any]:
        return self.source.statements.meeting(self.where, statement)

    def _cut(self) -> Select[Any]:
        terms = total_order(self.source.mapper, self.order_by)
        clauses = order_by_clauses(terms, dialect_named(self.source.dialect.name).ordering)
        return self._selected(self.source.statements.cut).order_by(None).order_by(*clauses)


async def read_on(
    source: RowSource[T], order: KeysetOrder, where: Sequence[Criterion], cursor: Cursor | None, limit: int
) -> tuple[Sequence[T], Sequence[Sequence[Any]]]:
    """Return the items that follow *cursor* in *order*, *limit* of them at most, and the rows that they were made of.

    A range is read only if those before it were not enough.
    """
    items: list[T] = []
    rows: list[Sequence[Any]] = []
    for statement in order.reading(cursor):
        selected = order.statements.meeting(where, statement)
        more_items, more_rows = await source.rows(selected, place_parameters(cursor, limit - len(rows)))
        items += more_items
        rows += more_rows
        if len(rows) == limit:
            break
    return items, rows
