"""The projection: reads rows into schemas, without entities."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.orm import Mapper

from layered_backend.dialects import Keys, dialect_named
from layered_backend.errors import MultipleFoundError, NotFoundError
from layered_backend.identity import identity_of
from layered_backend.listing import Listing, read_on
from layered_backend.memoization import memoized
from layered_backend.projection.selection import Selection, selection_of
from layered_backend.projection.source import Source
from layered_backend.projection.values import GivenValue, expressions_of
from layered_backend.query import Criterion, CursorPage, CursorParams, NumberedParams, OrderBy, Page, Slice
from layered_backend.query.cursor import Cursor
from layered_backend.query.keyset import order_of, place_of
from layered_backend.query.sort_terms import listed
from layered_backend.query.statements import Statements, key_parameters

__all__ = ["Projection"]

SchemaT = TypeVar("SchemaT", bound=BaseModel)

_STREAMED = 1_000  # rows, of which so many are in memory at a time


class Projection(Generic[SchemaT]):
    """Reads the rows of one mapped class straight into a Pydantic schema. Lives as long as its unit of work.

        items = uow.items.project(ItemRead)
        page = await items.page(PageParams(size=20), Item.price < 5)

    It selects the columns that the schema has, and nothing else. A schema that is nested in it, over a relationship to one
    row, comes by a join; one over a relationship to many rows is read in one statement more, however many rows there are.
    Filters, sorts, pages and scopes are the repository's.

    Args:
        source: Where to read.
        model: The mapped class.
        schema: What to make of its rows.
        values: The values of fields that no column has, or not for this request, as expressions.

    Raises:
        TypeError: A field of the schema cannot be read, or a schema is nested in itself.
    """

    def __init__(
        self, source: Source, model: type[Any], schema: type[SchemaT], values: Mapping[str, GivenValue] | None = None
    ) -> None:
        self._source = source
        self._model = model
        self._selection: Selection[SchemaT] = selection_of(model, schema, tuple(values or ()))
        self._statements = self._selection.statements
        if values:
            expressions = expressions_of(model, values)
            self._statements = Statements(self._selection.mapper, self._statements.rows.add_columns(*expressions))

    async def get(self, key: Any) -> SchemaT:
        """Return what has that primary key.

        Args:
            key: The value of the primary key, as for `BaseRepository.get`.

        Raises:
            NotFoundError: There is none, or no row of this database can have that key.
            InvalidDataError: The key has another number of parts, or a part another type.
        """
        found = await self.get_or_none(key)
        if found is None:
            raise NotFoundError(self._model.__name__, key)
        return found

    async def get_or_none(self, key: Any) -> SchemaT | None:
        """Return what has that primary key, or None if there is none.

        Raises:
            InvalidDataError: The key has another number of parts, or a part another type.
        """
        identity = identity_of(self._selection.mapper, key, self._source.dialect)
        if identity is None:
            return None
        found, _ = await self._rows.rows(self._statements.by_key, key_parameters(identity))
        return found[0] if found else None

    async def get_with(self, key: Any, *names: str) -> tuple[SchemaT, Sequence[Any]]:
        """Return what has that primary key, and the values of columns beside it, which the schema need not have.

        Args:
            key: The value of the primary key, as for `BaseRepository.get`.
            names: Of attributes of the mapped class.

        Raises:
            NotFoundError: There is none, or no row of this database can have that key.
            InvalidDataError: The key has another number of parts, or a part another type.
        """
        identity = identity_of(self._selection.mapper, key, self._source.dialect)
        if identity is None:
            raise NotFoundError(self._model.__name__, key)
        found, rows = await self._rows.rows(_by_key_with(self._statements, names), key_parameters(identity))
        if not found:
            raise NotFoundError(self._model.__name__, key)
        return found[0], rows[0][self._selection.width :]

    async def one(self, *where: Criterion) -> SchemaT:
        """Return the only one that meets the criteria.

        Raises:
            NotFoundError: None does.
            MultipleFoundError: Several do.
        """
        found = await self.one_or_none(*where)
        if found is None:
            raise NotFoundError(self._model.__name__)
        return found

    async def one_or_none(self, *where: Criterion) -> SchemaT | None:
        """Return the only one that meets the criteria, or None if none does.

        Raises:
            MultipleFoundError: Several do.
        """
        found = await self.list(*where, limit=2)
        if len(found) > 1:
            raise MultipleFoundError(self._model.__name__)
        return found[0] if found else None

    async def first(self, *where: Criterion, order_by: OrderBy | None = None) -> SchemaT | None:
        """Return the first that meets the criteria, by primary key unless *order_by* says otherwise, or None."""
        found = await self.list(*where, order_by=order_by, limit=1)
        return found[0] if found else None

    async def list(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Sequence[SchemaT]:
        """Return all that meet the criteria, as `BaseRepository.list` does.

        Raises:
            InvalidDataError: *limit* or *offset* is negative.
        """
        return await Listing[SchemaT](self._rows, where, order_by).list(limit, offset)

    async def page(
        self, params: NumberedParams, /, *where: Criterion, order_by: OrderBy | None = None
    ) -> Page[SchemaT]:
        """Return one page, and how many rows there are on all of them, as `BaseRepository.page` does."""
        return await self._listing(params, where, order_by).page(params)

    async def slice(
        self, params: NumberedParams, /, *where: Criterion, order_by: OrderBy | None = None
    ) -> Slice[SchemaT]:
        """Return one page, and whether there is another, as `BaseRepository.slice` does."""
        return await self._listing(params, where, order_by).slice(params)

    async def cursor_page(
        self, params: CursorParams, /, *where: Criterion, order_by: OrderBy | None = None, total: bool = False
    ) -> CursorPage[SchemaT]:
        """Return one page, and the cursors of those beside it, as `BaseRepository.cursor_page` does.

        Raises:
            InvalidCursorError: The cursor is broken, or was made for another sort or filter.
        """
        return await self._listing(params, where, order_by).cursor_page(params, total=total)

    async def stream(
        self, *where: Criterion, order_by: OrderBy | None = None, batch_size: int = _STREAMED
    ) -> AsyncGenerator[SchemaT]:
        """Yield all that meet the criteria, with one batch of them in memory.

        Args:
            where: SQLAlchemy expressions, all of which must hold.
            order_by: One expression or several; the primary key unless it is given.
            batch_size: How many rows are read at a time, from 1.
        """
        if not self._selection.is_streamable:
            async for schema in self._stream_by_place(where, order_by, batch_size):
                yield schema
            return
        sorted_by = listed(self._selection.mapper, order_by) or self._selection.mapper.primary_key
        statement = self._rows.scoped(self._rows.statements.meeting(where).order_by(*sorted_by))
        make = self._selection.layout.make(())
        async with aclosing(self._source.stream(statement, batch_size)) as batches:
            async for rows in batches:
                for schema in self._selection.validated([make(row) for row in rows]):
                    yield schema

    async def _stream_by_place(
        self, where: Sequence[Criterion], order_by: OrderBy | None, batch_size: int
    ) -> AsyncGenerator[SchemaT]:
        """Yield batch by batch, each of them a query: nested rows need statements beside the stream of the outer ones."""
        order = order_of(self._statements, order_by, self._source.dialect)
        schemas, rows = await read_on(self._rows, order, where, None, batch_size)
        while rows:
            for schema in schemas:
                yield schema
            place = Cursor(place_of(rows[-1], order.keys))
            schemas, rows = await read_on(self._rows, order, where, place, batch_size)

    @property
    def _rows(self) -> _SchemaRows[SchemaT]:
        return _SchemaRows(self._source, self._selection, self._statements)

    def _listing(self, params: Any, where: Sequence[Criterion], order_by: OrderBy | None) -> Listing[SchemaT]:
        return Listing[SchemaT].asked_for(self._rows, params, where, order_by)


@memoized
def _by_key_with(statements: Statements, names: tuple[str, ...]) -> Any:
    return statements.by_key.add_columns(*(getattr(statements.mapper.class_, name) for name in names))


@dataclass(frozen=True)
class _SchemaRows(Generic[SchemaT]):
    """The rows of a projection, for a listing."""

    source: Source
    selection: Selection[SchemaT]
    statements: Statements

    @property
    def mapper(self) -> Mapper[Any]:
        return self.selection.mapper

    @property
    def dialect(self) -> Dialect:
        return self.source.dialect

    @property
    def by_keys(self) -> Keys:
        return dialect_named(self.dialect.name).keys

    def scoped(self, statement: Select[Any]) -> Select[Any]:
        options = self.source.scopes.options()
        return statement.options(*options) if options else statement

    async def count(self, *where: Criterion) -> int:
        statement = self.scoped(self.statements.meeting(where, self.statements.count))
        return await self.source.read(lambda connection: connection.scalar(statement)) or 0

    async def rows(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> tuple[Sequence[SchemaT], Sequence[Sequence[Any]]]:
        options = self.source.scopes.options()
        scoped = statement.options(*options) if options else statement
        by_keys = self.by_keys

        def read(connection: Connection) -> tuple[Sequence[Any], list[Any]]:
            rows = connection.execute(scoped, parameters).all()
            return rows, self.selection.records(rows, connection, by_keys, options)

        rows, records = await self.source.read(read)
        return self.selection.validated(records), rows
