"""Identities: primary keys as callers write them, and the state that SQLAlchemy keeps of an entity."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, Enum, Integer, String, Uuid, inspect
from sqlalchemy.orm import InstanceState, Mapper

from layered_backend.dialects import dialect_named
from layered_backend.errors import InvalidDataError
from layered_backend.query.column_limits import holds

__all__ = ["identity_of", "state_of"]


def identity_of(mapper: Mapper[Any], key: object, dialect: Dialect) -> tuple[Any, ...] | None:
    """Return *key* as a tuple in the order of the primary key's columns.

    Args:
        mapper: The mapper of the entity.
        key: The value of a simple key; a tuple, or a mapping by attribute name, for a composite one.
        dialect: SQLAlchemy's dialect of the database.

    Returns:
        None if no row can have that key: a part is None, or the column cannot hold it.

    Raises:
        InvalidDataError: The key has another number of parts, or a part another type.
    """
    values = [_coerced(mapper, column, value) for column, value in zip(*_parts(mapper, key), strict=True)]
    can_hold = dialect_named(dialect.name).values.holds
    for column, value in zip(mapper.primary_key, values, strict=True):
        if value is None or not (holds(column.type, value) and can_hold(column.type.dialect_impl(dialect), value)):
            return None
    return tuple(values)


def state_of(entity: object) -> InstanceState[Any]:
    """Return SQLAlchemy's state of *entity*: its identity, and the values that are loaded."""
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    return state


def _parts(mapper: Mapper[Any], key: object) -> tuple[tuple[ColumnElement[Any], ...], Sequence[object]]:
    columns = mapper.primary_key
    names = [mapper.get_property_by_column(column).key for column in columns]
    given: object = key
    if isinstance(key, Mapping):
        by_name = cast("Mapping[str, object]", key)
        given = tuple(by_name[name] for name in names) if set(by_name) == set(names) else ()
    parts = cast("Sequence[object]", given) if isinstance(given, tuple) else (given,)
    if len(parts) != len(columns):
        raise InvalidDataError(f"the key of {mapper.class_.__name__} is ({', '.join(names)})")
    return columns, parts


def _coerced(mapper: Mapper[Any], column: ColumnElement[Any], value: object) -> object:
    if isinstance(column.type, Uuid) and column.type.as_uuid and isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            return None  # no row can have such a key
    expected = _python_type(column)
    if value is None or expected is None or (isinstance(value, expected) and not isinstance(value, bool)):
        return value
    name = f"{mapper.class_.__name__}.{mapper.get_property_by_column(column).key}"
    raise InvalidDataError(f"{name} takes {expected.__name__}, not {type(value).__name__}")


def _python_type(column: ColumnElement[Any]) -> type | None:
    """Return the type of key parts that is checked here; None if the database may compare them by its own rules."""
    match column.type:
        case Enum():
            return None
        case Integer():
            return int
        case String():
            return str
        case Uuid(as_uuid=True):
            return uuid.UUID
        case _:
            return None
