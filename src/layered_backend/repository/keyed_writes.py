"""Keyed writes: one statement changes or deletes the row with a key and returns it, so that nothing is read first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Column, Update, bindparam, delete, or_, update
from sqlalchemy.orm import Mapper, Session

from layered_backend.field_values import is_plain
from layered_backend.memoization import memoized
from layered_backend.query.scope import ActiveScopes
from layered_backend.query.statements import has_key, key_parameters
from layered_backend.repository.orm_bypass import (
    can_delete_directly,
    can_update_directly,
    columns_by_name,
    has_plain_values,
)
from layered_backend.repository.refresh import expire_with_savepoint
from layered_backend.upstream.sqlalchemy.events import is_change_heard

__all__ = [
    "build_change",
    "can_change_by_key",
    "can_delete_by_key",
    "change_by_key",
    "change_parameters",
    "delete_by_key",
    "is_loaded",
]

EntityT = TypeVar("EntityT")

_UNSYNCHRONIZED = {"synchronize_session": False}
_EAGER = frozenset({"immediate", "joined", "selectin", "subquery", False})


def change_by_key(
    session: Session,
    mapper: Mapper[EntityT],
    identity: tuple[Any, ...],
    values: Mapping[str, Any],
    scopes: ActiveScopes,
) -> EntityT | None:
    """Return the entity with that key after a change to *values*, or None if the ORM has to do it.

    The result is also None if the row has all the *values* already; it is left as it is.
    """
    if is_loaded(session, mapper, identity) or not can_change_by_key(session, mapper, values) or not _is_whole(mapper):
        return None
    options, statement = scopes.options(), _changing_entity(mapper, frozenset(values))
    statement = statement.options(*options) if options else statement
    parameters = key_parameters(identity) | change_parameters(values)
    entity = session.execute(statement, parameters, execution_options=_UNSYNCHRONIZED).scalar_one_or_none()
    if entity is not None:
        expire_with_savepoint(session, [entity])
    return entity


def delete_by_key(
    session: Session, mapper: Mapper[EntityT], identity: tuple[Any, ...], scopes: ActiveScopes
) -> EntityT | None:
    """Return the entity with that key after its deletion, or None if the ORM has to do it or there is no such row."""
    if is_loaded(session, mapper, identity) or not can_delete_by_key(session, mapper) or not _is_whole(mapper):
        return None
    if session.in_nested_transaction():  # its rollback must give the entity back to the session
        return None
    options, statement = scopes.options(), _deleting_entity(mapper)
    statement = statement.options(*options) if options else statement
    deleted = session.execute(statement, key_parameters(identity), execution_options=_UNSYNCHRONIZED)
    entity = deleted.scalar_one_or_none()
    if entity is not None:
        session.expunge(entity)  # its row is gone
    return entity


def can_change_by_key(session: Session, mapper: Mapper[Any], values: Mapping[str, Any]) -> bool:
    """Tell whether one statement can change *values* of a row: it skips no validator, event or version check."""
    return (
        bool(values)
        and session.get_bind().dialect.update_returning
        and mapper.version_id_col is None
        and has_plain_values(mapper, values)
        and _are_plain(mapper, frozenset(values))
        and can_update_directly(mapper, session)
        and not is_change_heard(mapper, values)
    )


def can_delete_by_key(session: Session, mapper: Mapper[Any]) -> bool:
    """Tell whether one statement can delete a row: it skips no cascade, event or version check."""
    return (
        session.get_bind().dialect.delete_returning
        and mapper.version_id_col is None
        and can_delete_directly(mapper, session)
    )


def change_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of `build_change`, without those of the key."""
    return {f"new_{name}": value for name, value in values.items()}


def build_change(mapper: Mapper[Any], target: Any, names: frozenset[str]) -> Update:
    """Return the statement that changes those attributes of the row with a key, unless it has all the values already.

    Args:
        mapper: The mapper of the mapped class.
        target: The mapped class, or its table.
        names: The names of the attributes.
    """
    columns = columns_by_name(mapper)
    new = {columns[name]: bindparam(f"new_{name}", type_=columns[name].type) for name in sorted(names)}
    is_changed = or_(*(column.is_distinct_from(value) for column, value in new.items()))
    return update(target).where(*has_key(mapper), is_changed).values(new)


@memoized
def _changing_entity(mapper: Mapper[Any], names: frozenset[str]) -> Any:
    return build_change(mapper, mapper.class_, names).returning(mapper.class_)


@memoized
def _deleting_entity(mapper: Mapper[Any]) -> Any:
    return delete(mapper.class_).where(*has_key(mapper)).returning(mapper.class_)


def is_loaded(session: Session, mapper: Mapper[Any], identity: tuple[Any, ...]) -> bool:
    """Tell whether the session holds the entity, after a flush: a direct statement would leave it outdated."""
    if session.new:
        session.flush()
    return mapper.identity_key_from_primary_key(identity) in session.identity_map


@memoized
def _is_whole(mapper: Mapper[Any]) -> bool:
    """Tell whether an entity consists of the columns that RETURNING gives back, without eager relationships."""
    are_columns = all(isinstance(attribute.columns[0], Column) for attribute in mapper.column_attrs)
    return are_columns and not any(relationship.lazy in _EAGER for relationship in mapper.relationships)


@memoized
def _are_plain(mapper: Mapper[Any], names: frozenset[str]) -> bool:
    """Tell whether those columns can be compared, are loaded with an entity and do not belong to the key."""
    columns = [columns_by_name(mapper)[name] for name in names]
    are_deferred = any(mapper.column_attrs[name].deferred for name in names)
    return not are_deferred and all(is_plain(column.type) and not column.primary_key for column in columns)
