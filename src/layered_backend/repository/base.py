"""The base class of repositories: the methods that write entities."""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from layered_backend.batch import Batch
from layered_backend.errors import (
    UniqueViolationError,
)
from layered_backend.field_values import Data
from layered_backend.memoization import memoized
from layered_backend.models import SoftDeletable
from layered_backend.projection import selection_of
from layered_backend.query import Criterion
from layered_backend.query.joined_tables import checked_criteria
from layered_backend.repository.bulk_insert import insert_rows
from layered_backend.repository.entity_writer import EntityWriter
from layered_backend.repository.refresh import (
    expire_with_savepoint,
    find_loaded,
    refresh_loaded,
    refresh_new,
)
from layered_backend.repository.returning import Returning
from layered_backend.repository.row_writes import (
    change_by_key,
    make_entity,
    write_new_entity,
)
from layered_backend.repository.scoped_values import (
    changed_batch_in_scope,
    own,
    refuse_foreign,
)
from layered_backend.repository.upsert import Attributes, Upsert, undone_alone
from layered_backend.repository.write_gate import Verb, plan_write

__all__ = ["BaseRepository", "repository_of"]

ModelT = TypeVar("ModelT")
RepositoryT = TypeVar("RepositoryT", bound="BaseRepository[Any]")
SchemaT = TypeVar("SchemaT", bound=BaseModel)


class BaseRepository(EntityWriter[ModelT]):
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
