"""Pages of rows, whatever each row becomes: an entity, or a schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, Dialect, Select, func, select
from sqlalchemy.orm import Mapper

from layered_backend.dialects import dialect_named
from layered_backend.query import (
    Criterion,
    CursorPage,
    CursorParams,
    FilterSet,
    OrderBy,
    Page,
    PageParams,
    Slice,
    Sorting,
)
from layered_backend.query.cursor import fingerprint
from layered_backend.query.keyset import Keyset
from layered_backend.query.ordering import order_by_clauses, total_order
from layered_backend.query.parameters import QueryModel

__all__ = ["Listing", "RowSource"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class RowSource(Protocol[T_co]):
    """Where the rows of one mapped class come from, each as an item."""

    @property
    def mapper(self) -> Mapper[Any]:
        """Of the mapped class."""
        ...

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's, of the database."""
        ...

    def select(self, *where: Criterion) -> Select[Any]:
        """Return the statement that selects what items are made of."""
        ...

    async def rows(self, statement: Select[Any], *, further: int = 0) -> Sequence[tuple[T_co, Sequence[Any]]]:
        """Return the items that *statement* selects, each with the values of the *further* columns at its end."""
        ...

    async def count(self, *where: Criterion) -> int:
        """Return how many rows meet the criteria."""
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
        """Return the listing with the filters and the sort of *params* as well, where that has some.

        A sort of the client's comes before *order_by*; that of the class's own default comes behind it.
        """
        if isinstance(params, FilterSet):
            where = (*where, *params.where())
        if isinstance(params, Sorting) and (params.sort or order_by is None):
            order_by = params.order_by()
        return cls(source, where, order_by)

    async def page(self, params: PageParams) -> Page[T]:
        """Return one page; the total comes with its rows, in the same statement."""
        total = select(func.count()).select_from(self.source.mapper).where(*self.where).correlate(None)
        statement = self._cut(params, params.size).add_columns(total.scalar_subquery().label("layered_total"))
        rows = await self.source.rows(statement, further=1)
        if rows:
            ((_, (count,)), *_) = rows
        else:
            count = 0 if params.page == 1 else await self.source.count(*self.where)
        return Page([item for item, _ in rows], count, params.page, params.size)

    async def slice(self, params: PageParams) -> Slice[T]:
        """Return one page, and whether there is another: one row more is read to know."""
        rows = await self.source.rows(self._cut(params, params.size + 1))
        return Slice([item for item, _ in rows[: params.size]], params.page, params.size, len(rows) > params.size)

    async def cursor_page(self, params: CursorParams) -> CursorPage[T]:
        """Return the page at a cursor.

        Raises:
            InvalidCursorError: The cursor is broken, or was made for another sort or filter.
        """
        mapper, dialect = self.source.mapper, self.source.dialect
        terms = total_order(mapper, self.order_by)
        mark = fingerprint(terms, self.where, str(mapper.local_table), dialect)
        keyset = Keyset.of(params, terms, mark)
        statement = keyset.statement(self.source.select(*self.where), dialect_named(dialect.name))
        return keyset.page(await self.source.rows(statement, further=len(terms)))

    def _cut(self, params: PageParams, rows: int) -> Select[Any]:
        clauses: Sequence[ColumnElement[Any]] = order_by_clauses(
            total_order(self.source.mapper, self.order_by), dialect_named(self.source.dialect.name)
        )
        return self.source.select(*self.where).order_by(*clauses).limit(rows).offset(params.offset)
