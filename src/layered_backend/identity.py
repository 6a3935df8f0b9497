"""Identities: primary keys as callers write them, and the state that SQLAlchemy keeps of an entity."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, inspect
from sqlalchemy.orm import InstanceState, Mapper

from layered_backend.columns import kind_of
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
    values = [_part(mapper, column, value, dialect) for column, value in zip(*_parts(mapper, key), strict=True)]
    return None if any(value is None for value in values) else tuple(values)


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


def _part(mapper: Mapper[Any], column: ColumnElement[Any], value: object, dialect: Dialect) -> object:
    """Return a part of a key as the database has it; None if no row can have such a one."""
    kind = kind_of(column.type)
    if kind.key is uuid.UUID and isinstance(value, str):
        try:
            return kind.parse(value)
        except ValueError:
            return None
    if kind.key is not None and value is not None and (not isinstance(value, kind.key) or isinstance(value, bool)):
        name = f"{mapper.class_.__name__}.{mapper.get_property_by_column(column).key}"
        raise InvalidDataError(f"{name} takes {kind.key.__name__}, not {type(value).__name__}")
    values = dialect_named(dialect.name).values
    if value is None or not (holds(column.type, value) and values.holds(column.type.dialect_impl(dialect), value)):
        return None
    form = values.kept_form(column.type, dialect) if kind.key is None else None
    return value if form is None else form(value)
