"""The entity reader: reads entities by key, by criteria, page by page and as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import BaseModel
from sqlalchemy import (
    ColumnExpressionArgument,
    Dialect,
    Executable,
    Result,
    Select,
    func,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session

from layered_backend.batch import batched
from layered_backend.dialects import dialect_named
from layered_backend.errors import MultipleFoundError, NotFoundError
from layered_backend.identity import identity_of
from layered_backend.listing import Listing
from layered_backend.memoization import memoized
from layered_backend.projection import GivenValue, Projection, SessionSource
from layered_backend.query import Criterion, CursorPage, CursorParams, Lock, NumberedParams, OrderBy, Page, Slice
from layered_backend.query.joined_tables import checked_criteria, checked_sorts, expression_of
from layered_backend.query.scope import ActiveScopes, active_scopes
from layered_backend.query.sort_terms import listed
from layered_backend.query.statements import Statements, key_parameters
from layered_backend.type_arguments import type_arguments
from layered_backend.upstream.sqlalchemy.expression import ORMOption

__all__ = ["EntityReader", "model_of"]

T = TypeVar("T")
ModelT = TypeVar("ModelT")
SchemaT = TypeVar("SchemaT", bound=BaseModel)
StatementT = TypeVar("StatementT", bound=Executable)

_STREAMED = 1_000  # rows, of which so many are in memory at a time


class EntityReader(Generic[ModelT]):
    """The reading half of a repository; see `BaseRepository`.

    Args:
        session: The session to work in.
        model: The mapped class; the type argument unless it is given.

    Raises:
        TypeError: There is neither a type argument nor *model*.
    """

    def __init__(self, session: AsyncSession, model: type[ModelT] | None = None) -> None:
        self.session = session
        self.model: type[ModelT] = model or cast("type[ModelT]", model_of(type(self)))
        self._mapper: Mapper[ModelT] = cast("Mapper[ModelT]", _mapper_of(self.model))

    async def get(self, key: Any, *, lock: Lock | None = None, options: Sequence[ORMOption] = ()) -> ModelT:
        """Return the entity with that primary key.

        Args:
            key: The value of the primary key; a tuple in the order of its columns, or a mapping by attribute name, for
                a composite one.
            lock: A lock to hold on the row until the transaction ends; the row is then read anew.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            NotFoundError: There is none, or no row of this database can have that key.
            InvalidDataError: The key has another number of parts, or a part another type.
            LockTimeoutError: Another transaction has the row, and *lock* does not wait.
        """
        entity = await self.get_or_none(key, lock=lock, options=options)
        if entity is None:
            raise NotFoundError(self.model.__name__, key)
        return entity

    async def get_or_none(
        self, key: Any, *, lock: Lock | None = None, options: Sequence[ORMOption] = ()
    ) -> ModelT | None:
        """Return the entity with that primary key, or None if there is none.

        Raises:
            InvalidDataError: The key has another number of parts, or a part another type.
            LockTimeoutError: Another transaction has the row, and *lock* does not wait.
        """
        identity = identity_of(self._mapper, key, self._dialect)
        if identity is None:
            return None
        if not (options or lock or self._scopes.options()):
            return await self.session.run_sync(_get, self._mapper, identity)
        # Session.get would return an entity that is loaded already, whatever the options and the scopes ask for.
        key = zip(self._mapper.primary_key, identity, strict=True)
        statement = self.select(*(column == value for column, value in key))
        return await self._only(lock.on(statement, self.model) if lock else statement, options)

    async def get_many(self, keys: Iterable[Any], *, options: Sequence[ORMOption] = ()) -> Sequence[ModelT]:
        """Return the entities with those primary keys, in the order of the keys.

        A key that no row has is left out, and one that comes twice counts once.

        Args:
            keys: Primary keys, as for `get`; any number of them.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            InvalidDataError: A key has another number of parts, or a part another type.
        """
        identities = (identity_of(self._mapper, key, self._dialect) for key in keys)
        wanted = dict.fromkeys(identity for identity in identities if identity is not None)
        by_keys = dialect_named(self._dialect.name).keys
        found: dict[Any, ModelT] = {}
        async for batch in batched(wanted, by_keys.parameter_limit // len(self._mapper.primary_key)):
            statement = self.select(by_keys.among(self._mapper.primary_key, batch))
            for entity in await self._entities(statement, options):
                found[tuple(self._mapper.primary_key_from_instance(entity))] = entity
        return [found[identity] for identity in wanted if identity in found]

    async def one(self, *where: Criterion, lock: Lock | None = None, options: Sequence[ORMOption] = ()) -> ModelT:
        """Return the only entity that meets the criteria.

        Args:
            where: SQLAlchemy expressions, all of which must hold.
            lock: A lock to hold on the row until the transaction ends, as for `get`.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            NotFoundError: None does.
            MultipleFoundError: Several do.
            LockTimeoutError: Another transaction has the row, and *lock* does not wait.
        """
        entity = await self.one_or_none(*where, lock=lock, options=options)
        if entity is None:
            raise NotFoundError(self.model.__name__)
        return entity

    async def one_or_none(
        self, *where: Criterion, lock: Lock | None = None, options: Sequence[ORMOption] = ()
    ) -> ModelT | None:
        """Return the only entity that meets the criteria, or None if none does.

        Raises:
            MultipleFoundError: Several do.
            LockTimeoutError: Another transaction has the row, and *lock* does not wait.
        """
        statement = self._selected(where).limit(2)
        return await self._only(lock.on(statement, self.model) if lock else statement, options)

    async def first(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        lock: Lock | None = None,
        options: Sequence[ORMOption] = (),
    ) -> ModelT | None:
        """Return the first entity that meets the criteria, by primary key unless *order_by* says otherwise, or None.

        With `lock=Lock.update(skip_locked=True)` it is the first one that no other transaction has, as a queue needs it.

        Raises:
            LockTimeoutError: Another transaction has the row, and *lock* does not wait.
        """
        found = await self.list(*where, order_by=order_by, limit=1, lock=lock, options=options)
        return found[0] if found else None

    async def list(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        limit: int | None = None,
        offset: int | None = None,
        lock: Lock | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Sequence[ModelT]:
        """Return all entities that meet the criteria; every entity without criteria.

        Args:
            where: SQLAlchemy expressions, all of which must hold.
            order_by: One expression or several; the primary key unless it is given.
            limit: How many at most, from 0; None for all of them.
            offset: How many to pass over, from 0.
            lock: A lock to hold on the rows until the transaction ends; they are then read anew.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            InvalidDataError: *limit* or *offset* is negative.
            LockTimeoutError: Another transaction has a row, and *lock* does not wait.
        """
        return await Listing[ModelT](self._source(options, lock), where, order_by).list(limit, offset)

    async def page(
        self,
        params: NumberedParams,
        /,
        *where: Criterion,
        order_by: OrderBy | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Page[ModelT]:
        """Return one page, and how many entities there are on all of them.

        Rows that *order_by* does not tell apart are sorted by primary key, so that no row is on two pages.

        Args:
            params: Which page; a query model's own filters and sort count too.
            where: SQLAlchemy expressions, all of which must hold.
            order_by: The sort where *params* ask for none; the primary key unless it is given.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.
        """
        return await self._listing(params, where, order_by, options).page(params)

    async def slice(
        self,
        params: NumberedParams,
        /,
        *where: Criterion,
        order_by: OrderBy | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Slice[ModelT]:
        """Return one page, and whether there is another: `page` without the counting."""
        return await self._listing(params, where, order_by, options).slice(params)

    async def cursor_page(
        self,
        params: CursorParams,
        /,
        *where: Criterion,
        order_by: OrderBy | None = None,
        total: bool = False,
        options: Sequence[ORMOption] = (),
    ) -> CursorPage[ModelT]:
        """Return one page, and the cursors of those beside it.

        Rows that come or go between two calls shift nothing, and the last page costs no more than the first where an
        index has the sort's columns.

        Args:
            params: Which page; a query model's own filters and sort count too.
            where: SQLAlchemy expressions, all of which must hold.
            order_by: The sort where *params* ask for none; the primary key unless it is given.
            total: Whether to count the entities on all pages too, which costs a statement unless they are all on this one.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            InvalidCursorError: The cursor is broken, or was made for another sort or filter.
        """
        return await self._listing(params, where, order_by, options).cursor_page(params, total=total)

    async def stream(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        batch_size: int = _STREAMED,
        options: Sequence[ORMOption] = (),
    ) -> AsyncGenerator[ModelT]:
        """Yield the entities that meet the criteria, with one batch of them in memory.

        On MariaDB the connection can do nothing else meanwhile.

        Args:
            where: SQLAlchemy expressions, all of which must hold.
            order_by: One expression or several; the primary key unless it is given.
            batch_size: How many rows are fetched at a time, from 1.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.
        """
        sorts = listed(self._mapper, order_by) or self._mapper.primary_key
        statement = self._selected(where).order_by(*sorts).options(*options)
        streaming = {"yield_per": batch_size}
        result: Result[Any] = await self.session.run_sync(lambda s: s.execute(statement, execution_options=streaming))
        batches = result.scalars().partitions()
        try:
            while batch := await self.session.run_sync(lambda _: next(batches, None)):
                for entity in batch:
                    yield entity
        finally:
            await self.session.run_sync(lambda _: result.close())

    async def exists(self, *where: Criterion) -> bool:
        """Tell whether an entity meets the criteria."""
        statement = self._meeting(where, _statements(self._mapper).exists)
        return await SessionSource(self.session).read(lambda connection: connection.scalar(statement)) is not None

    async def count(self, *where: Criterion) -> int:
        """Return how many entities meet the criteria."""
        statement = self._meeting(where, _statements(self._mapper).count)
        return await SessionSource(self.session).read(lambda connection: connection.scalar(statement)) or 0

    async def count_by(self, expression: ColumnExpressionArgument[T], *where: Criterion) -> Mapping[T, int]:
        """Return how many entities that meet the criteria have each value; a value that none has is left out.

        Args:
            expression: The values to count: a column such as `Item.status`, or an expression of the entity's columns.
            where: SQLAlchemy expressions, all of which must hold.

        Raises:
            TypeError: *expression* reads a table that the mapped class does not have.
        """
        # Counted outside of what reads the value: databases do not group by every expression.
        (value,) = checked_sorts(self._mapper, (expression,))
        values = self._selected(where).with_only_columns(value.label("value"), maintain_column_froms=True).subquery()
        statement = self._scoped(select(values.c.value, func.count()).group_by(values.c.value))
        rows = await SessionSource(self.session).read(lambda connection: connection.execute(statement).all())
        return {row[0]: row[1] for row in rows}

    def select(self, *where: Criterion) -> Select[ModelT]:
        """Return the statement that selects the entities that meet the criteria, to build a query of your own on.

        The criteria may read tables that you join then.

        Raises:
            TypeError: A criterion is no SQL expression.
        """
        for criterion in where:
            expression_of(self._mapper, criterion, "a criterion")
        every = _statements(self._mapper).rows
        return self._scoped(every.where(*where) if where else every)

    def project(self, schema: type[SchemaT], /, **values: GivenValue) -> Projection[SchemaT]:
        """Return the projection that reads the rows straight into *schema*, and makes no entities of them.

            articles = uow.articles.project(ArticleRead, favorited=favorites.exists(), favorites=count)

        Args:
            schema: A Pydantic model.
            values: The values of fields that no column has: expressions over the mapped class, subqueries that are
                correlated to it, or constants.

        Raises:
            TypeError: A field of the schema cannot be read, a value belongs to no field or is no value of a row, or a
                schema is nested in itself.
        """
        return Projection(SessionSource(self.session), self.model, schema, values)

    # How

    @property
    def _dialect(self) -> Dialect:
        return self.session.get_bind().dialect

    @property
    def _scopes(self) -> ActiveScopes:
        return active_scopes(self.session.info)

    def _scoped(self, statement: StatementT) -> StatementT:
        options = self._scopes.options()
        return statement.options(*options) if options else statement

    def _selected(self, where: Sequence[Criterion]) -> Select[ModelT]:
        """Return the statement for the entities that meet the criteria, by `select`, which a subclass may restrict."""
        return self.select(*checked_criteria(self._mapper, where))

    def _meeting(self, where: Sequence[Criterion], statement: Select[Any]) -> Select[Any]:
        return self._scoped(_statements(self._mapper).meeting(where, statement))

    def _listing(
        self, params: Any, where: Sequence[Criterion], order_by: OrderBy | None, options: Sequence[ORMOption]
    ) -> Listing[ModelT]:
        return Listing[ModelT].asked_for(self._source(options), params, where, order_by)

    def _source(self, options: Sequence[ORMOption], lock: Lock | None = None) -> _EntityRows[ModelT]:
        return _EntityRows(self, self._mapper, self._dialect, partial(self._scoped_rows, options=options, lock=lock))

    async def _only(self, statement: Select[ModelT], options: Sequence[ORMOption]) -> ModelT | None:
        found = await self._entities(statement, options)
        if len(found) > 1:
            raise MultipleFoundError(self.model.__name__)
        return found[0] if found else None

    async def _entities(self, statement: Select[ModelT], options: Sequence[ORMOption]) -> Sequence[ModelT]:
        return [entity for (entity,) in await self._rows(statement, None, options)]

    async def _scoped_rows(
        self,
        statement: Select[Any],
        parameters: Mapping[str, Any] | None,
        *,
        options: Sequence[ORMOption],
        lock: Lock | None,
    ) -> Sequence[Any]:
        scoped = self._scoped(statement)
        return await self._rows(lock.on(scoped, self.model) if lock else scoped, parameters, options)

    async def _rows(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None, options: Sequence[ORMOption]
    ) -> Sequence[Any]:
        """Return the rows of *statement*, each with an entity in it, and none of them twice."""
        is_repeated = bool(options) or _joins_collections(self._mapper)  # a joined collection repeats its owner
        statement = statement.options(*options) if options else statement
        return await self.session.run_sync(_fetch, statement, parameters, is_repeated=is_repeated)


@dataclass(frozen=True)
class _EntityRows(Generic[ModelT]):
    """The entities of a repository, for a listing."""

    reader: EntityReader[ModelT]
    mapper: Mapper[Any]
    dialect: Dialect
    fetch: Callable[[Select[Any], Mapping[str, Any] | None], Awaitable[Sequence[Any]]]

    @property
    def statements(self) -> Statements:
        return _statements(self.mapper)

    async def count(self, *where: Criterion) -> int:
        return await self.reader.count(*where)

    async def rows(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> tuple[Sequence[ModelT], Sequence[Sequence[Any]]]:
        rows = await self.fetch(statement, parameters)
        return [row[0] for row in rows], rows


@memoized
def model_of(reader_class: type[EntityReader[Any]]) -> type[Any]:
    """Return the mapped class that a class of repositories, or `BaseRepository[Item]`, names.

    Raises:
        TypeError: It names none.
    """
    given = get_args(reader_class)
    if given:
        return cast("type[Any]", given[0])
    model = next(iter(type_arguments(reader_class, EntityReader)), None)
    if not isinstance(model, type):
        name = reader_class.__name__
        raise TypeError(f"{name} does not know its model; write class {name}(BaseRepository[Item]), or pass the model")
    return model


def _get(session: Session, mapper: Mapper[ModelT], identity: tuple[Any, ...]) -> ModelT | None:
    """Return the entity with that key, as `Session.get` does, which would build its statement anew."""
    if mapper.identity_key_from_primary_key(identity) in session.identity_map:
        return session.get(mapper.class_, identity)
    found = session.execute(_statements(mapper).by_key, key_parameters(identity)).scalars()
    return (found.unique() if _joins_collections(mapper) else found).one_or_none()


def _fetch(
    session: Session, statement: Select[Any], parameters: Mapping[str, Any] | None, *, is_repeated: bool
) -> Sequence[Any]:
    result = session.execute(statement, parameters)
    return (result.unique() if is_repeated else result).all()


@memoized
def _mapper_of(model: type[Any]) -> Mapper[Any]:
    mapper: Mapper[Any] = inspect(model, raiseerr=True)
    return mapper


@memoized
def _statements(mapper: Mapper[Any]) -> Statements:
    return Statements(mapper, select(mapper.class_))


@memoized
def _joins_collections(mapper: Mapper[Any], *above: Mapper[Any]) -> bool:
    """Tell whether the rows of *mapper* come joined with those of a collection, directly or further down."""
    joined = [relationship for relationship in mapper.relationships if relationship.lazy == "joined"]
    return any(
        relationship.uselist
        or (relationship.mapper not in above and _joins_collections(relationship.mapper, mapper, *above))
        for relationship in joined
    )
