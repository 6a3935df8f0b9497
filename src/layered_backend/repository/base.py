"""The base class of repositories, with all that writes entities."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel
from sqlalchemy import CursorResult, delete, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from layered_backend.batch import Batch, batched
from layered_backend.columns import is_same_to, kind_of
from layered_backend.errors import (
    InvalidDataError,
    NotFoundError,
    StaleError,
    UniqueViolationError,
    UnitOfWorkError,
)
from layered_backend.field_values import Data, as_stored, stored_batch
from layered_backend.identity import identity_of, state_of
from layered_backend.memoization import memoized
from layered_backend.models import SoftDeletable
from layered_backend.projection import selection_of
from layered_backend.query import Criterion
from layered_backend.query.joined_tables import checked_criteria
from layered_backend.query.scope import ActiveScopes
from layered_backend.repository.bulk_insert import insert_rows
from layered_backend.repository.bulk_rows import BATCH_SIZE, at_index, batches, numbered
from layered_backend.repository.entity_reader import EntityReader
from layered_backend.repository.refresh import (
    expire_with_savepoint,
    find_loaded,
    load_replaced,
    refresh_changed,
    refresh_loaded,
    refresh_new,
)
from layered_backend.repository.returning import Returning
from layered_backend.repository.row_writes import (
    change_by_key,
    delete_by_key,
    make_entity,
    set_values,
    write_new_entity,
)
from layered_backend.repository.scoped_values import (
    changed_batch_in_scope,
    changed_in_scope,
    new_batch_in_scope,
    new_in_scope,
    own,
    refuse_foreign,
)
from layered_backend.repository.upsert import Attributes, Upsert, undone_alone
from layered_backend.repository.write_gate import Verb, plan_write

__all__ = ["BaseRepository", "repository_of"]

ModelT = TypeVar("ModelT")
RepositoryT = TypeVar("RepositoryT", bound="BaseRepository[Any]")
SchemaT = TypeVar("SchemaT", bound=BaseModel)


class BaseRepository(EntityReader[ModelT]):
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

    async def create(
        self, data: Data, *, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> ModelT:
        """Make an entity of *data*, write it and return it.

            await uow.articles.create(data, exclude={"tag_list"}, values={"author_id": viewer.id, "slug": slug})

        Args:
            data: A mapping by attribute name, or a Pydantic model: the fields that were set, and the defaults its schema
                declares. An omitted field whose default is None is left to the mapped class.
            exclude: The fields of *data* that are left out.
            values: The application's own values by attribute name. They win over those of *data*.

        Raises:
            TypeError: *data* is neither a mapping nor a Pydantic model.
            UnknownFieldError: The mapped class lacks a field of *data* or *values*, or *data* one of *exclude*.
            InvalidDataError: The database cannot store a value, or a relationship got nested data.
            ConflictError: A unique constraint or a foreign key is violated.
            PermissionDeniedError: It is another tenant's, or the actor has no tenant.
        """
        return await self.add(make_entity(self._mapper, self._new_values(data, exclude, values)))

    async def add(self, entity: ModelT) -> ModelT:
        """Write a new entity and return it.

        Raises:
            InvalidDataError: The database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
            PermissionDeniedError: It is another tenant's.
        """
        own(self._scopes, self._mapper, entity)
        await self.session.run_sync(write_new_entity, self._mapper, entity)
        refuse_foreign(self._scopes, self._mapper, entity)
        await refresh_new(self.session, entity)
        return entity

    def returning(self, schema: type[SchemaT]) -> Returning[SchemaT]:
        """Return what creates, updates and deletes single rows and returns each as *schema*, without an entity.

        Raises:
            TypeError: A field of the schema has no column and no relationship, or a schema is nested in itself.
        """
        return Returning(self.session, self, _overridden(type(self)), selection_of(self.model, schema))

    async def create_many(self, rows: Iterable[Data] | AsyncIterable[Data]) -> int:
        """Write many new rows, and return how many; no entities are made of them.

        Args:
            rows: Data as for `create`, from any iterable: a batch of it is in memory at a time.

        Raises:
            UnknownFieldError: The mapped class lacks a field of a row.
            InvalidDataError: The database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        count = 0
        async for batch in self._batches(rows, self._key_names):
            await insert_rows(self.session, self._mapper, batch)
            count += batch.size
        return count

    async def upsert(self, data: Data, *, on: Attributes | None = None, update: Attributes | None = None) -> ModelT:
        """Write a row, or change the one that has the same key, and return the entity as the database has it.

        Whoever writes the same key at the same time: there is one row, and no error. A key with None in it is equal to
        no other, as in a unique constraint, so its row is new.

        Args:
            data: A mapping by attribute name, or a Pydantic model, as for `create`; plain values of columns.
            on: What makes the key, which must be unique: `Item.name`, or several; the primary key unless it is given.
            update: What to change where the row is there, nothing for `()`; all that *data* sets unless it is given.

        Raises:
            TypeError: *on* is no unique key of the mapped class.
            UnknownFieldError: The mapped class lacks a field of *data*.
            InvalidDataError: The database cannot store a value, or one is not plain.
            UniqueViolationError: Another unique value is taken, or the row with this key is out of scope.
        """
        upsert = Upsert.of(self.session, self._mapper, on, update)
        values = self._new_values(data)
        if not upsert.has_key(values):
            return await self.create(data)
        loaded = find_loaded(self.session, self.model)
        await upsert.write(Batch.of([values]), is_read=True)
        entity = await self.one_or_none(*upsert.equals(values))
        if entity is None:
            raise UniqueViolationError(table=str(self._mapper.local_table))
        if any(entity is each for each in loaded):
            await refresh_loaded(self.session, self._mapper, [entity])
        else:
            await self.session.run_sync(expire_with_savepoint, [entity])
        return entity

    async def upsert_many(
        self,
        rows: Iterable[Data] | AsyncIterable[Data],
        *,
        on: Attributes | None = None,
        update: Attributes | None = None,
    ) -> int:
        """Write many rows, or change those that have the same key, and return how many were given.

        Args:
            rows: Data as for `upsert`, from any iterable: a batch of it is in memory at a time.
            on: What makes the key, as for `upsert`.
            update: What to change where a row is there, as for `upsert`.

        Raises:
            TypeError: *on* is no unique key of the mapped class.
            UnknownFieldError: The mapped class lacks a field of a row.
            InvalidDataError: The database cannot store a value, or one is not plain.
            UniqueViolationError: Another unique value is taken, or a row with such a key is out of scope.
        """
        upsert = Upsert.of(self.session, self._mapper, on, update)
        count = 0
        async for batch in self._batches(rows, upsert.on):
            await upsert.write(batch)
            count += batch.size
        await refresh_loaded(self.session, self._mapper, find_loaded(self.session, self.model))
        return count

    async def get_or_create(self, data: Data, *, on: Attributes) -> tuple[ModelT, bool]:
        """Return the entity with the key, and whether it was created now, of *data*.

        Whoever creates it at the same time: there is one row, and no error. A key with None in it is equal to no other,
        as in a unique constraint, so its row is new.

        Args:
            data: A mapping by attribute name, or a Pydantic model, as for `create`.
            on: What makes the key, which must be unique: `Item.name`, or several.

        Raises:
            TypeError: *on* is no unique key of the mapped class.
            UnknownFieldError: The mapped class lacks a field of *data*.
            InvalidDataError: The database cannot store a value.
            UniqueViolationError: Another unique value is taken, or the row with this key is out of scope.
        """
        upsert = Upsert.of(self.session, self._mapper, on, ())
        values = self._new_values(data)
        if not upsert.has_key(values):
            return await self.create(data), True
        key = upsert.equals(values)
        entity = await self.one_or_none(*key)
        if entity is not None:
            return entity, False
        try:
            async with undone_alone(self.session):
                return await self.create(data), True
        except UniqueViolationError:
            entity = await self.one_or_none(*key)
            if entity is None:
                raise
            return entity, False

    async def update(
        self,
        key_or_entity: Any,
        data: Data,
        *,
        exclude: Collection[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> ModelT:
        """Change the fields that *data* sets, and return the entity.

        An omitted field stays as it is; an explicit None is written.

        Args:
            key_or_entity: The primary key, as for `get`, or an entity of this unit of work.
            data: A mapping by attribute name, or a Pydantic model, of which only the fields that were set count.
            exclude: The fields of *data* that are left out.
            values: The application's own values by attribute name. They win over those of *data*.

        Raises:
            NotFoundError: No entity has that key.
            TypeError: *data* is neither a mapping nor a Pydantic model.
            UnknownFieldError: The mapped class lacks a field of *data* or *values*, or *data* one of *exclude*; nothing is
                changed.
            InvalidDataError: The database cannot store a value, or a relationship got nested data.
            ConflictError: A unique constraint or a foreign key is violated, or the row was changed or deleted meanwhile.
            PermissionDeniedError: The tenant of the row would change.
            UnitOfWorkError: The entity is of another unit of work.
        """
        changes = self._changed_values(data, exclude, values)
        changed = await self._by_key(key_or_entity, change_by_key, changes)
        if changed is not None:
            return changed
        was_loaded = self._is_loaded(key_or_entity)
        entity = await self._entity(key_or_entity)
        self._check_version(entity, changes)
        return await self._change(entity, changes, was_loaded=was_loaded)

    async def update_where(self, *where: Criterion, values: Data) -> int:
        """Change all rows that meet the criteria, and return how many.

        Args:
            where: SQLAlchemy expressions, all of which must hold; `sqlalchemy.true()` for every row.
            values: What to change, as for `update`: values, or expressions such as `Item.price * 2`.

        Raises:
            UnknownFieldError: The mapped class lacks a field of *values*; nothing is changed.
            InvalidDataError: There are no criteria, or the database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        self._refuse_no_criteria(where, "update_where")
        changed = self._changed_values(values)
        if not changed:
            return await self.count(*where)
        plan = plan_write(self.session.sync_session, self._mapper, Verb.UPDATE_WHERE, changed)
        if plan is None:
            return await self._update_each(where, changed)
        new = {plan.columns[name]: value for name, value in changed.items()} | plan.next_version
        statement = self._scoped(update(self.model).where(*checked_criteria(self._mapper, where)).values(new))
        written = await self._written(statement, synchronize_session=False)
        await refresh_loaded(self.session, self._mapper, find_loaded(self.session, self.model))
        return written

    async def update_many(self, rows: Iterable[Data] | AsyncIterable[Data]) -> int:
        """Change many rows, each by values of its own, and return how many were given.

        Args:
            rows: Data as for `update`, and the primary key, from any iterable: a batch of it is in memory at a time. The order
                does not matter, so two rows of a batch may not have the same key.

        Raises:
            NotFoundError: No entity has one of the keys.
            UnknownFieldError: The mapped class lacks a field of a row.
            InvalidDataError: A row lacks the key, or has that of another one, or the database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated, or a row was changed or deleted meanwhile.
            PermissionDeniedError: The tenant of a row would change.
        """
        count = 0
        async for batch in self._batches(rows, self._key_names, changed_batch_in_scope):
            await self._update_batch(batch)
            count += batch.size
        return count

    async def delete(self, key_or_entity: Any) -> ModelT:
        """Delete the entity and return it, as it was; one that is SoftDeletable is marked as deleted instead.

        Args:
            key_or_entity: The primary key, as for `get`, or an entity of this unit of work.

        Raises:
            NotFoundError: No entity has that key.
            ForeignKeyViolationError: Other rows refer to it.
            UnitOfWorkError: The entity is of another unit of work.
        """
        if issubclass(self.model, SoftDeletable):
            return await self.update(key_or_entity, {"deleted_at": datetime.now(UTC)})
        return await self._deleted(key_or_entity)

    async def delete_where(self, *where: Criterion) -> int:
        """Delete all rows that meet the criteria, or mark them where they are SoftDeletable, and return how many.

        Args:
            where: SQLAlchemy expressions, all of which must hold; `sqlalchemy.true()` for every row.

        Raises:
            InvalidDataError: There are no criteria.
            ForeignKeyViolationError: Other rows refer to one of them.
        """
        self._refuse_no_criteria(where, "delete_where")
        if issubclass(self.model, SoftDeletable):
            where = (*where, self.model.deleted_at.is_(None))
            return await self.update_where(*where, values={"deleted_at": datetime.now(UTC)})
        if plan_write(self.session.sync_session, self._mapper, Verb.DELETE_WHERE) is None:
            return await self._delete_each(where)
        are_some_loaded = bool(find_loaded(self.session, self.model))
        statement = self._scoped(delete(self.model).where(*checked_criteria(self._mapper, where)))
        return await self._written(statement, synchronize_session="auto" if are_some_loaded else False)

    async def restore(self, key_or_entity: Any) -> ModelT:
        """Take back that the entity was deleted, and return it.

        Raises:
            NotFoundError: No entity has that key, deleted or not.
            TypeError: The mapped class is not SoftDeletable.
            ConflictError: Another row has taken its unique value meanwhile.
            UnitOfWorkError: The entity is of another unit of work.
        """
        if not issubclass(self.model, SoftDeletable):
            raise TypeError(f"{self.model.__name__} is deleted for good; derive it from SoftDeletable to restore it")
        with self._scopes.without_those_of(SoftDeletable):
            return await self.update(key_or_entity, {"deleted_at": None})

    async def hard_delete(self, key_or_entity: Any) -> ModelT:
        """Delete the row for good, one that is marked as deleted too, and return the entity, as it was.

        Raises:
            NotFoundError: No entity has that key, deleted or not.
            ForeignKeyViolationError: Other rows refer to it.
            UnitOfWorkError: The entity is of another unit of work.
        """
        with self._scopes.without_those_of(SoftDeletable):
            return await self._deleted(key_or_entity)

    # How

    async def _deleted(self, key_or_entity: object) -> ModelT:
        deleted = await self._by_key(key_or_entity, delete_by_key)
        if deleted is not None:
            return deleted
        entity = await self._entity(key_or_entity)
        await self.session.delete(entity)
        await self.session.flush()
        return entity

    async def _by_key(self, key: object, write: Callable[..., ModelT | None], *arguments: object) -> ModelT | None:
        """Return the result of *write* for the row with that key; None for an entity, or if it cannot write the row."""
        if isinstance(key, self.model):
            return None
        identity = identity_of(self._mapper, key, self._dialect)
        if identity is None:
            return None
        return await self.session.run_sync(write, self._mapper, identity, *arguments, self._scopes)

    @property
    def _key_names(self) -> Sequence[str]:
        return [self._mapper.get_property_by_column(column).key for column in self._mapper.primary_key]

    def _batches(
        self,
        rows: Iterable[Data] | AsyncIterable[Data],
        key: Sequence[str],
        convert: Callable[[ActiveScopes, Mapper[Any], Sequence[Data]], Batch] = new_batch_in_scope,
    ) -> AsyncGenerator[Batch]:
        def stored(some: Sequence[Data]) -> Batch:
            return stored_batch(self._mapper, convert(self._scopes, self._mapper, some), self._dialect)

        return batches(rows, self._mapper, key, stored, self._dialect)

    def _new_values(
        self, data: Data, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        new = new_in_scope(self._scopes, self._mapper, data, exclude, values)
        return as_stored(self._mapper, new, self._dialect)

    def _changed_values(
        self, data: Data, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        changed = changed_in_scope(self._scopes, self._mapper, data, exclude, values)
        return as_stored(self._mapper, changed, self._dialect)

    async def _entity(self, key_or_entity: object) -> ModelT:
        if not isinstance(key_or_entity, self.model):
            return await self.get(key_or_entity)
        if key_or_entity not in self.session:
            raise UnitOfWorkError(
                f"this {self.model.__name__} is not of this unit of work, which would not write its changes; pass its key"
            )
        if self._scopes.concern(self.model):  # it may have been loaded while they were lifted, or past them
            await self.get(self._identity(key_or_entity))
        return key_or_entity

    def _is_loaded(self, key_or_entity: object) -> bool:
        if isinstance(key_or_entity, self.model):
            return True
        identity = identity_of(self._mapper, key_or_entity, self._dialect)
        known = self.session.identity_map
        return identity is not None and self._mapper.identity_key_from_primary_key(identity) in known

    def _check_version(self, entity: ModelT, values: dict[str, Any]) -> None:
        """Remove the version from *values*, in which it names the version that was read, and compare it."""
        if self._mapper.version_id_col is None:
            return
        name = self._mapper.get_property_by_column(self._mapper.version_id_col).key
        if name in values and values.pop(name) != getattr(entity, name):
            raise StaleError

    def _refuse_no_criteria(self, where: Sequence[Criterion], method: str) -> None:
        if not where:
            raise InvalidDataError(
                f"{method} without criteria would be for every {self.model.__name__}; pass sqlalchemy.true() to mean that"
            )

    async def _written(self, statement: Any, **options: Any) -> int:
        await self.session.flush()
        result = await self.session.execute(statement, execution_options=options)
        return cast("CursorResult[Any]", result).rowcount

    async def _update_batch(self, batch: Batch) -> None:
        """Change the entities of a batch, which are read by one statement and written by one flush."""
        names = self._key_names
        changes: dict[tuple[Any, ...], tuple[int, dict[str, Any]]] = {}
        for row, values in enumerate(batch.rows()):
            key = {name: values.pop(name, None) for name in names}
            with at_index(batch.number(row)):
                identity = identity_of(self._mapper, key, self._dialect)
                if None in key.values():
                    raise InvalidDataError(f"each row of update_many has the key of its {self.model.__name__}")
                if identity is None:
                    raise NotFoundError(self.model.__name__, tuple(key.values()))
                if identity in changes:
                    raise InvalidDataError(f"two rows of update_many have the key of the same {self.model.__name__}")
            changes[identity] = batch.number(row), values
        loaded = {id(entity) for entity in find_loaded(self.session, self.model)}
        found = {self._identity(entity): entity for entity in await self.get_many(changes)}
        for identity, (index, values) in changes.items():
            with at_index(index):
                if identity not in found:
                    raise NotFoundError(self.model.__name__, identity if len(names) > 1 else identity[0])
                self._check_version(found[identity], values)
                await self._assign(found[identity], values, was_loaded=id(found[identity]) in loaded)
        with numbered(self._mapper, batch, self._dialect):
            await self.session.flush()
        for identity, (_, values) in changes.items():
            await refresh_changed(self.session, found[identity], values)

    def _identity(self, entity: ModelT) -> tuple[Any, ...]:
        return tuple(self._mapper.primary_key_from_instance(entity))

    async def _change(self, entity: ModelT, values: dict[str, Any], *, was_loaded: bool) -> ModelT:
        await self._assign(entity, values, was_loaded=was_loaded)
        await self.session.flush()
        await refresh_changed(self.session, entity, values)
        return entity

    async def _assign(self, entity: ModelT, values: dict[str, Any], *, was_loaded: bool) -> None:
        known = dict(state_of(entity).dict) if was_loaded else {}
        if all(name in self._mapper.column_attrs for name in values):
            set_values(entity, values)
        else:  # what a relationship held, or what stands for it, is loaded first
            await load_replaced(self.session, entity, values)
            await self.session.run_sync(lambda _: set_values(entity, values))
        _flag_changed_in_place(self._mapper, entity, known, values)

    async def _update_each(self, where: Sequence[Criterion], values: dict[str, Any]) -> int:
        keys = await self._keys(where)
        async for batch in batched(keys, BATCH_SIZE):
            loaded = {id(entity) for entity in find_loaded(self.session, self.model)}
            for entity in await self.get_many(batch):
                await self._change(entity, values, was_loaded=id(entity) in loaded)
        return len(keys)

    async def _delete_each(self, where: Sequence[Criterion]) -> int:
        keys = await self._keys(where)
        async for batch in batched(keys, BATCH_SIZE):
            for entity in await self.get_many(batch):
                await self.session.delete(entity)
            await self.session.flush()
        return len(keys)

    async def _keys(self, where: Sequence[Criterion]) -> Sequence[Any]:
        """Return the primary keys of the rows that meet the criteria."""
        # Attributes, not columns of the table: the scopes are of the mapped class.
        key = [getattr(self.model, name) for name in self._key_names]
        return [tuple(row) for row in await self.session.execute(self._selected(where).with_only_columns(*key))]


@memoized
def _overridden(repository_class: type[BaseRepository[Any]]) -> frozenset[str]:
    """Return the names of the writing methods that the class overrides."""
    names = ("add", "create", "delete", "update")
    return frozenset(name for name in names if getattr(repository_class, name) is not getattr(BaseRepository, name))


def repository_of(
    repository_class: type[RepositoryT], session: AsyncSession, model: type[Any] | None = None
) -> RepositoryT:
    """Return a new repository of a class, or of a generic one with its argument, such as `BaseRepository[Item]`."""
    build: Any = get_origin(repository_class) or repository_class
    models = [model] if model else get_args(repository_class)[:1]
    return cast("RepositoryT", build(session, *models))


def _flag_changed_in_place(
    mapper: Mapper[Any], entity: object, known: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Have *values* written that are the same as what the entity held, where that may be another than its row has.

    SQLAlchemy does not see a change inside of a value, such as a dictionary, and has no copy of what was loaded.
    """
    for name, value in values.items():
        if value is None or name not in known or name not in mapper.column_attrs:
            continue
        column_type = mapper.column_attrs[name].columns[0].type
        if not kind_of(column_type).is_kept and is_same_to(column_type, known[name], value):
            flag_modified(entity, name)
