"""Refreshing entities: a statement has changed their rows, or a flush has left values to the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ColumnProperty, Mapper, Session, selectinload
from sqlalchemy.orm.attributes import flag_dirty, set_committed_value

from layered_backend.batch import batched
from layered_backend.dialects import dialect_named
from layered_backend.identity import state_of
from layered_backend.query.scope import active_scopes

__all__ = ["expire_with_savepoint", "find_loaded", "load_replaced", "refresh_changed", "refresh_loaded", "refresh_new"]

EntityT = TypeVar("EntityT")


def find_loaded(session: AsyncSession, model: type[EntityT]) -> list[EntityT]:
    """Return the entities of *model* that the session holds."""
    return [entity for entity in session.identity_map.values() if isinstance(entity, model)]


# An entity is looked at through its own mapper: that of a subclass has more attributes than the repository's.


async def refresh_changed(session: AsyncSession, entity: object, changed: Collection[str]) -> None:
    """Read the columns that the database computed in a flush, and the relationships whose foreign key changed."""
    mapper = state_of(entity).mapper
    columns = _unread_columns(mapper, entity)
    if columns:
        await session.refresh(entity, columns)
    references = _moved_references(mapper, entity, changed)
    if references:
        await _load_again(session, mapper, entity, references)


async def load_replaced(session: AsyncSession, entity: object, names: Iterable[str]) -> None:
    """Load the relationships that will be set, directly or through an association proxy, and refuse to load themselves."""
    state = state_of(entity)
    descriptors: Any = state.mapper.all_orm_descriptors
    references = {getattr(descriptors[name], "target_collection", name) for name in names if name in descriptors}
    refusing = [
        relationship.key
        for relationship in state.mapper.relationships
        if relationship.key in references & state.unloaded and relationship.lazy in {"raise", "raise_on_sql"}
    ]
    if refusing and state.persistent:
        await _load_again(session, state.mapper, entity, refusing)


async def refresh_new(session: AsyncSession, entity: object) -> None:
    """Read the columns that the database computed for a new row; an omitted column without a default is NULL."""
    mapper = state_of(entity).mapper
    unread = _unread_columns(mapper, entity)
    computed = state_of(entity).expired_attributes
    for name in unread:
        column = mapper.column_attrs[name].columns[0]
        has_default = not isinstance(column, Column) or column.default is not None or column.server_default is not None
        if name not in computed and not has_default:
            set_committed_value(entity, name, None)
    if unread:
        await refresh_changed(session, entity, ())


async def refresh_loaded(session: AsyncSession, mapper: Mapper[Any], entities: Iterable[object]) -> None:
    """Read the columns of *entities* again, and expire relationships whose foreign key changed."""
    by_identity = {state_of(entity).identity or (): entity for entity in entities}
    key = mapper.primary_key
    names = [attribute.key for attribute in mapper.column_attrs if _is_read_with_entity(attribute)]
    columns = [getattr(mapper.class_, name) for name in names]
    by_keys = dialect_named(session.get_bind().dialect.name).keys
    async for batch in batched(by_identity, by_keys.parameter_limit // len(key)):
        read: list[object] = []
        for row in await session.execute(select(*key, *columns).where(by_keys.among(key, batch))):
            identity, values = tuple(row[: len(key)]), row[len(key) :]
            if identity in by_identity:
                read.append(by_identity[identity])
                _take(session.sync_session, by_identity[identity], dict(zip(names, values, strict=True)))
        await session.run_sync(expire_with_savepoint, read)


def expire_with_savepoint(session: Session, entities: Sequence[object]) -> None:
    """Have the rollback of the open savepoint expire *entities*, which a statement has changed.

    It expires those that were flushed since the savepoint: one that is only marked as dirty is flushed without SQL.
    """
    if entities and session.in_nested_transaction():
        for entity in entities:
            flag_dirty(entity)
        session.flush()


def _take(session: Session, entity: object, values: dict[str, Any]) -> None:
    known = state_of(entity).dict
    changed = {name: value for name, value in values.items() if name not in known or _differs(known[name], value)}
    moved = _moved_references(state_of(entity).mapper, entity, changed)
    if moved:
        session.expire(entity, moved)
    for name, value in changed.items():
        set_committed_value(entity, name, value)


def _differs(known: Any, value: Any) -> bool:
    """Tell whether two values are not, or perhaps not, the same: an array compares itself element by element."""
    try:
        return (known != value) is not False
    except Exception:  # noqa: BLE001  # whatever a class of the application's raises
        return True


async def _load_again(session: AsyncSession, mapper: Mapper[Any], entity: object, references: Sequence[str]) -> None:
    """Load relationships again by a query of the entity, which has the scopes, unlike a refresh."""
    session.expire(entity, references)
    identity = state_of(entity).identity or ()
    options = [selectinload(getattr(mapper.class_, name)) for name in references]
    statement = select(mapper.class_).options(*options, *active_scopes(session.info).options())
    has_key = (column == value for column, value in zip(mapper.primary_key, identity, strict=True))
    (await session.scalars(statement.where(*has_key))).unique().all()


def _unread_columns(mapper: Mapper[Any], entity: object) -> list[str]:
    unloaded = state_of(entity).unloaded
    columns = mapper.column_attrs
    return [name for name in unloaded if name in columns and _is_read_with_entity(columns[name])]


def _is_read_with_entity(attribute: ColumnProperty[Any]) -> bool:
    """Tell whether a query for an entity reads *attribute*: a `query_expression` is filled in by the queries that want it."""
    return not attribute.deferred and ("query_expression", True) not in attribute.strategy_key


def _moved_references(mapper: Mapper[Any], entity: object, changed: Collection[str]) -> list[str]:
    """Return the loaded relationships whose foreign key is among the *changed* fields."""
    if not changed:
        return []
    loaded = state_of(entity).dict
    columns = {
        column for name in changed if name in mapper.column_attrs for column in mapper.column_attrs[name].columns
    }
    return [
        relationship.key
        for relationship in mapper.relationships
        if relationship.key in loaded and relationship.key not in changed and relationship.local_columns & columns
    ]
