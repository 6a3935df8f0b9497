"""How a repository writes: the steps that its methods share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import CursorResult
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from layered_backend.batch import Batch, batched
from layered_backend.columns import is_same_to, kind_of
from layered_backend.errors import (
    InvalidDataError,
    NotFoundError,
    StaleError,
    UnitOfWorkError,
)
from layered_backend.field_values import Data, as_stored, stored_batch
from layered_backend.identity import identity_of, state_of
from layered_backend.query import Criterion
from layered_backend.query.scope import ActiveScopes
from layered_backend.repository.bulk_rows import BATCH_SIZE, at_index, batches, numbered
from layered_backend.repository.entity_reader import EntityReader
from layered_backend.repository.refresh import (
    find_loaded,
    load_replaced,
    refresh_changed,
)
from layered_backend.repository.row_writes import (
    delete_by_key,
    set_values,
)
from layered_backend.repository.scoped_values import (
    changed_in_scope,
    new_batch_in_scope,
    new_in_scope,
)

__all__ = ["EntityWriter"]

ModelT = TypeVar("ModelT")


class EntityWriter(EntityReader[ModelT]):
    """The steps of the methods by which `BaseRepository` writes. Lives as long as its unit of work."""

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
