"""From the data that callers pass, a mapping or a Pydantic model, to the values of an entity's fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel
from sqlalchemy import Boolean, Date, DateTime, Integer, Numeric, String, Time, Uuid
from sqlalchemy.orm import Mapper

from layered_backend.errors import InvalidDataError, UnknownFieldError

__all__ = ["Data", "changed_values", "new_values"]

_PLAIN_TYPES = (Boolean, Date, DateTime, Integer, Numeric, String, Time, Uuid)

Data = Mapping[str, Any] | BaseModel
"""What a repository writes: a mapping by attribute name, or a Pydantic model."""


def new_values(mapper: Mapper[Any], data: Data) -> dict[str, Any]:
    """Return the values of a new entity: what *data* sets, and the defaults that its schema declares.

    A field that was omitted and whose default is None is left to the mapped class and its own default.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*.
        InvalidDataError: A relationship got nested data.
    """
    values = dict(data) if isinstance(data, Mapping) else _with_schema_defaults(data)
    return _checked(mapper, values)


def changed_values(mapper: Mapper[Any], data: Data) -> dict[str, Any]:
    """Return the values to change: an omitted field stays as it is, an explicit None is written.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*.
        InvalidDataError: A relationship got nested data.
    """
    values = dict(data) if isinstance(data, Mapping) else data.model_dump(exclude_unset=True)
    return _checked(mapper, values)


def _with_schema_defaults(data: BaseModel) -> dict[str, Any]:
    given = data.model_fields_set
    return {name: value for name, value in data.model_dump().items() if name in given or value is not None}


def _checked(mapper: Mapper[Any], values: dict[str, Any]) -> dict[str, Any]:
    known = mapper.all_orm_descriptors
    for name, value in values.items():
        if name not in known:
            raise UnknownFieldError(mapper.class_.__name__, name, list(known.keys()))
        if isinstance(value, Mapping):
            _refuse_mapping(mapper, name)
        if name in mapper.relationships and _is_nested(value):
            target = mapper.relationships[name].mapper.class_.__name__
            raise InvalidDataError(
                f"{mapper.class_.__name__}.{name} takes {target} entities, not nested data; "
                f"set the foreign key, or create the {target} through its own repository"
            )
    return values


def _refuse_mapping(mapper: Mapper[Any], name: str) -> None:
    """Refuse a mapping for a column of a plain type: asyncmy would write its keys into the statement as they are."""
    if name in mapper.column_attrs and isinstance(mapper.columns[name].type, _PLAIN_TYPES):
        raise InvalidDataError(f"{mapper.class_.__name__}.{name} takes a single value, not a mapping")


def _is_nested(value: Any) -> bool:
    if isinstance(value, (Mapping, BaseModel)):
        return True
    members = cast("Iterable[object]", value) if isinstance(value, list | tuple | set) else ()
    return any(isinstance(member, (Mapping, BaseModel)) for member in members)
