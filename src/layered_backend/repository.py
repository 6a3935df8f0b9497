"""The repository: a collection of entities that happens to be stored (Fowler, PoEAA: Repository)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast, get_args, get_origin

from sqlalchemy import ColumnElement, ColumnExpressionArgument, Select, func, inspect, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.interfaces import ORMOption

from layered_backend.errors import InvalidDataError, MultipleFoundError, NotFoundError, UnitOfWorkError
from layered_backend.field_values import Data, changed_values, new_values
from layered_backend.identity import identity_of
from layered_backend.memoization import memoized
from layered_backend.type_arguments import type_arguments

__all__ = ["BaseRepository", "Criterion", "OrderBy", "repository_of"]

ModelT = TypeVar("ModelT")
RepositoryT = TypeVar("RepositoryT", bound="BaseRepository[Any]")

_LARGEST_ROW_NUMBER = 2**63 - 1

Criterion = ColumnExpressionArgument[bool]
"""What rows must meet: `Item.price < 5`."""

OrderBy = ColumnExpressionArgument[Any] | Sequence[ColumnExpressionArgument[Any]]
"""What rows are sorted by: `Item.price.desc()`, or several such expressions."""


class BaseRepository(Generic[ModelT]):
    """The entities of one mapped class, in one transaction. Lives as long as its unit of work.

    Subclass it with the mapped class as type argument and add queries that have a name in the domain:

        class ItemRepository(BaseRepository[Item]):
            async def cheaper_than(self, price: Decimal) -> Sequence[Item]:
                return await self.list(Item.price < price, order_by=Item.price)

    Criteria are SQLAlchemy expressions. Writes are flushed, so that what the database refuses is raised at the call
    that caused it; a repository never commits and never rolls back.

    Args:
        session: The session to work in.
        model: The mapped class; the type argument unless it is given.

    Raises:
        TypeError: There is neither a type argument nor *model*.
    """

    def __init__(self, session: AsyncSession, model: type[ModelT] | None = None) -> None:
        self.session = session
        self.model: type[ModelT] = model or cast("type[ModelT]", _model_of(type(self)))

    # Reading

    async def get(self, key: Any, *, options: Sequence[ORMOption] = ()) -> ModelT:
        """Return the entity with that primary key.

        Args:
            key: The value of the primary key; a tuple in the order of its columns, or a mapping by attribute name, for
                a composite one.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            NotFoundError: There is none, or no row of this database can have that key.
            InvalidDataError: The key has another number of parts, or a part another type.
        """
        entity = await self.get_or_none(key, options=options)
        if entity is None:
            raise NotFoundError(self.model.__name__, key)
        return entity

    async def get_or_none(self, key: Any, *, options: Sequence[ORMOption] = ()) -> ModelT | None:
        """Return the entity with that primary key, or None if there is none.

        Raises:
            InvalidDataError: The key has another number of parts, or a part another type.
        """
        identity = identity_of(self._mapper, key, self.session.get_bind().dialect)
        if identity is None:
            return None
        if not options:
            return await self.session.get(self.model, identity)
        # Session.get would return an entity that is loaded already as it is, without what the options ask for.
        has_key = (column == value for column, value in zip(self._mapper.primary_key, identity, strict=True))
        return await self.one_or_none(*has_key, options=options)

    async def one(self, *where: Criterion, options: Sequence[ORMOption] = ()) -> ModelT:
        """Return the only entity that meets the criteria.

        Raises:
            NotFoundError: None does.
            MultipleFoundError: Several do.
        """
        entity = await self.one_or_none(*where, options=options)
        if entity is None:
            raise NotFoundError(self.model.__name__)
        return entity

    async def one_or_none(self, *where: Criterion, options: Sequence[ORMOption] = ()) -> ModelT | None:
        """Return the only entity that meets the criteria, or None if none does.

        Raises:
            MultipleFoundError: Several do.
        """
        found = await self._entities(self.select(*where).limit(2), options)
        if len(found) > 1:
            raise MultipleFoundError(self.model.__name__)
        return found[0] if found else None

    async def first(
        self, *where: Criterion, order_by: OrderBy | None = None, options: Sequence[ORMOption] = ()
    ) -> ModelT | None:
        """Return the first entity that meets the criteria, by primary key unless *order_by* says otherwise, or None."""
        found = await self.list(*where, order_by=order_by, limit=1, options=options)
        return found[0] if found else None

    async def list(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        limit: int | None = None,
        offset: int | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Sequence[ModelT]:
        """Return all entities that meet the criteria; every entity without criteria.

        Args:
            where: SQLAlchemy expressions, all of which must hold.
            order_by: One expression or several; the primary key unless it is given.
            limit: How many at most, from 0; None for all of them.
            offset: How many to pass over, from 0.
            options: SQLAlchemy's loader options, such as `selectinload(Item.tags)`.

        Raises:
            InvalidDataError: *limit* or *offset* is negative.
        """
        statement = self.select(*where).order_by(*self._sort_expressions(order_by))
        if limit is not None:
            statement = statement.limit(_row_number("limit", limit))
        if offset is not None:
            statement = statement.offset(_row_number("offset", offset))
        return await self._entities(statement, options)

    async def exists(self, *where: Criterion) -> bool:
        """Tell whether an entity meets the criteria."""
        statement = select(literal(1)).select_from(self.model).where(*where).limit(1)
        return await self.session.scalar(statement) is not None

    async def count(self, *where: Criterion) -> int:
        """Return how many entities meet the criteria."""
        return await self.session.scalar(select(func.count()).select_from(self.model).where(*where)) or 0

    def select(self, *where: Criterion) -> Select[ModelT]:
        """Return the statement that selects the entities that meet the criteria, to build a query of your own on."""
        return select(self.model).where(*where)

    # Writing

    async def create(self, data: Data) -> ModelT:
        """Make an entity of *data*, write it and return it.

        Args:
            data: A mapping by attribute name, or a Pydantic model: the fields that were set, and the defaults its schema
                declares. An omitted field whose default is None is left to the mapped class.

        Raises:
            UnknownFieldError: The mapped class lacks a field of *data*.
            InvalidDataError: The database cannot store a value, or a relationship got nested data.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        return await self.add(self.model(**new_values(self._mapper, data)))

    async def add(self, entity: ModelT) -> ModelT:
        """Write a new entity and return it.

        Raises:
            InvalidDataError: The database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        self.session.add(entity)
        await self.session.flush()
        await self._read_back(entity, {})
        return entity

    async def update(self, key_or_entity: Any, data: Data) -> ModelT:
        """Change the fields that *data* sets, and return the entity.

        An omitted field stays as it is; an explicit None is written.

        Args:
            key_or_entity: The primary key, as for `get`, or an entity of this unit of work.
            data: A mapping by attribute name, or a Pydantic model, of which only the fields that were set count.

        Raises:
            NotFoundError: No entity has that key.
            UnknownFieldError: The mapped class lacks a field of *data*; nothing is changed.
            InvalidDataError: The database cannot store a value, or a relationship got nested data.
            ConflictError: A unique constraint or a foreign key is violated, or the row was deleted meanwhile.
            UnitOfWorkError: The entity is of another unit of work.
        """
        values = changed_values(self._mapper, data)
        entity = await self._entity(key_or_entity)
        if values.keys() & self._mapper.relationships.keys():
            await self.session.run_sync(lambda _: _set(entity, values))  # what a relationship held is loaded first
        else:
            _set(entity, values)
        await self.session.flush()
        await self._read_back(entity, values)
        return entity

    async def delete(self, key_or_entity: Any) -> ModelT:
        """Delete the entity and return it, as it was.

        Args:
            key_or_entity: The primary key, as for `get`, or an entity of this unit of work.

        Raises:
            NotFoundError: No entity has that key.
            ForeignKeyViolationError: Other rows refer to it.
            UnitOfWorkError: The entity is of another unit of work.
        """
        entity = await self._entity(key_or_entity)
        await self.session.delete(entity)
        await self.session.flush()
        return entity

    # How

    @property
    def _mapper(self) -> Mapper[ModelT]:
        return cast("Mapper[ModelT]", inspect(self.model))

    async def _entity(self, key_or_entity: Any) -> ModelT:
        if not isinstance(key_or_entity, self.model):
            return await self.get(key_or_entity)
        if key_or_entity not in self.session:
            raise UnitOfWorkError(
                f"this {self.model.__name__} is not of this unit of work, which would not write its changes; pass its key"
            )
        return key_or_entity

    async def _read_back(self, entity: ModelT, changed: dict[str, Any]) -> None:
        """Read what the write left unknown or outdated: columns that the database computed, and references that moved."""
        names = [*_unread_columns(self._mapper, entity), *_moved_references(self._mapper, entity, changed)]
        if names:
            await self.session.refresh(entity, names)

    async def _entities(self, statement: Select[ModelT], options: Sequence[ORMOption]) -> Sequence[ModelT]:
        result = await self.session.execute(statement.options(*options) if options else statement)
        if options or joins_collections(self._mapper):
            result = result.unique()  # a joined collection repeats its owner in every row
        return result.scalars().all()

    def _sort_expressions(self, order_by: OrderBy | None) -> Sequence[ColumnExpressionArgument[Any]]:
        if isinstance(order_by, str):
            raise TypeError(f"order_by takes expressions such as {self.model.__name__}.name, not text")
        if order_by is None:
            return cast("Sequence[ColumnElement[Any]]", self._mapper.primary_key)
        return cast("Sequence[ColumnElement[Any]]", order_by) if isinstance(order_by, Sequence) else (order_by,)


def repository_of(repository_class: type[RepositoryT], session: AsyncSession) -> RepositoryT:
    """Return a new repository of a class, or of a generic one with its argument, such as `BaseRepository[Item]`."""
    build: Any = get_origin(repository_class) or repository_class
    return cast("RepositoryT", build(session, *get_args(repository_class)[:1]))


@memoized
def _model_of(repository_class: type[BaseRepository[Any]]) -> type[Any]:
    model = next(iter(type_arguments(repository_class, BaseRepository)), None)
    if not isinstance(model, type):
        name = repository_class.__name__
        raise TypeError(f"{name} does not know its model; write class {name}(BaseRepository[Item]), or pass the model")
    return model


def _unread_columns(mapper: Mapper[Any], entity: object) -> list[str]:
    unloaded = inspect(entity, raiseerr=True).unloaded
    return [name for name in unloaded if name in mapper.column_attrs and not mapper.column_attrs[name].deferred]


def _moved_references(mapper: Mapper[Any], entity: object, changed: dict[str, Any]) -> list[str]:
    """Return the loaded relationships whose foreign key is among the *changed* fields."""
    if not changed:
        return []
    return [
        relationship.key
        for relationship in mapper.relationships
        if relationship.key in vars(entity)
        and relationship.key not in changed
        and any(mapper.get_property_by_column(column).key in changed for column in relationship.local_columns)
    ]


def _row_number(name: str, value: int) -> int:
    """Return *value*, or the largest that every database takes."""
    if value < 0:
        raise InvalidDataError(f"{name} is at least 0, not {value}")
    return min(value, _LARGEST_ROW_NUMBER)


@memoized
def joins_collections(mapper: Mapper[Any], *above: Mapper[Any]) -> bool:
    """Tell whether the rows of *mapper* come joined with those of a collection, directly or further down."""
    joined = [relationship for relationship in mapper.relationships if relationship.lazy == "joined"]
    return any(
        relationship.uselist
        or (relationship.mapper not in above and joins_collections(relationship.mapper, mapper, *above))
        for relationship in joined
    )


def _set(entity: object, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(entity, name, value)
