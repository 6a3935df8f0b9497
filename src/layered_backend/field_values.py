"""Field values of an entity, from the mapping or the Pydantic model that a caller passes."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    String,
    Time,
    Uuid,
    literal_column,
)
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator

from layered_backend.batch import MISSING, Batch
from layered_backend.errors import ConflictError, InvalidDataError, UnknownFieldError
from layered_backend.memoization import memoized
from layered_backend.query.column_limits import is_limited, refuse_beyond_limits
from layered_backend.upstream.sqlalchemy.schema import takes_no_context

__all__ = ["Data", "changed_values", "is_plain", "new_batch", "new_values", "whole_values"]

_PLAIN_TYPES = (Boolean, Date, DateTime, Float, Integer, Numeric, String, Time, Uuid)
_TAKEN_AS_THEY_ARE: frozenset[type] = frozenset(
    {
        *(type(None), type(MISSING), bool, int, float, str, bytes, Decimal, uuid.UUID),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
    }
)

Data = Mapping[str, Any] | BaseModel
"""Data for a repository to write: a mapping by attribute name, or a Pydantic model."""


def new_values(mapper: Mapper[Any], data: Data) -> dict[str, Any]:
    """Return the values of a new entity: the fields that *data* sets, and the defaults of its schema.

    A field that was omitted and whose default is None is left to the mapped class and its own default.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
    """
    return _checked(mapper, dict(_given(data)))


def new_batch(mapper: Mapper[Any], rows: Sequence[Data]) -> Batch:
    """Return the values of many new entities, as `new_values` does, by field.

    Raises:
        UnknownFieldError: The mapped class lacks a field of a row.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
    """
    batch = Batch.of([_given(data) for data in rows])
    known = _writable_fields(mapper)
    for name in batch.fields:
        if name not in known:
            raise _not_writable(mapper, name, known)
    fields = {name: _checked_values(mapper, name, batch, known[name]) for name in batch.fields}
    return Batch(fields, batch.size)


def changed_values(mapper: Mapper[Any], data: Data) -> dict[str, Any]:
    """Return the values to change: an omitted field stays as it is, an explicit None is written.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
    """
    return _checked(mapper, dict(data) if isinstance(data, Mapping) else _fields_set(data))


def whole_values(mapper: Mapper[Any], key: object, data: Data) -> dict[str, Any]:
    """Return the values of an entity that is replaced: all the fields of *data*, an omitted one by its default.

    The default is the schema's, or the mapped class's where that is None, as for a new entity. The key stays.

    Raises:
        ConflictError: *data* gives another key.
        InvalidDataError: A default of the mapped class depends on the INSERT.
    """
    values = dict(_given(data))
    omitted: set[str] = set() if isinstance(data, Mapping) else type(data).model_fields.keys() - values.keys()
    fixed = {mapper.get_property_by_column(column).key: column for column in mapper.primary_key}
    version = mapper.version_id_col
    kept = {*fixed} if version is None else {*fixed, mapper.get_property_by_column(version).key}
    for name in sorted(omitted - kept):
        values[name] = _default(mapper, name)
    if values.keys() & fixed.keys():
        _drop_key(mapper, [*fixed], key, values)
    return values


def _drop_key(mapper: Mapper[Any], names: Sequence[str], key: object, values: dict[str, Any]) -> None:
    """Remove the key from *values*, which may repeat it."""
    by_name = cast("Mapping[str, object]", key) if isinstance(key, Mapping) else None
    parts = cast("Sequence[object]", key if isinstance(key, tuple) else (key,))
    for name, part in [*by_name.items()] if by_name is not None else zip(names, parts, strict=False):
        if str(values.pop(name, part)) != str(part):  # a UUID may be written out
            raise ConflictError(f"{mapper.class_.__name__}.{name} is another than the key of what is replaced")


def _default(mapper: Mapper[Any], name: str) -> object:
    """Return the default of a field: a value, or an expression that the database computes."""
    column = mapper.column_attrs[name].columns[0] if name in mapper.column_attrs else None
    if not isinstance(column, Column):
        return None
    default: Any = column.default
    if default is None:
        written: Any = getattr(column.server_default, "arg", None)
        return _quoted(written) if isinstance(written, str) else written
    if not default.is_callable:
        return default.arg
    if not takes_no_context(default.arg):
        raise InvalidDataError(f"{mapper.class_.__name__}.{name} needs a value: its default depends on the INSERT")
    return default.arg(None)


def _quoted(written: str) -> object:
    """Return the text of a server's default as the DDL has it: each database makes its column's type of it."""
    escaped = written.replace("'", "''")
    return cast("Any", literal_column)(f"'{escaped}'")


def _given(data: Data) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    defaults = {name: getattr(data, name) for name in type(data).model_fields if name not in data.model_fields_set}
    declared = {name: value for name, value in defaults.items() if value is not None}
    return declared | _fields_set(data)


def _fields_set(data: BaseModel) -> dict[str, Any]:
    """Return the fields as the model holds them: its serializers and aliases are for responses."""
    return {name: getattr(data, name) for name in data.model_fields_set}


def _checked(mapper: Mapper[Any], values: dict[str, Any]) -> dict[str, Any]:
    known, limited = _writable_fields(mapper), _limited_columns(mapper)
    for name, value in values.items():
        if name not in known:
            raise _not_writable(mapper, name, known)
        if type(value) not in _TAKEN_AS_THEY_ARE:
            values[name] = _checked_value(mapper, name, value, known[name])
        if name in limited:
            refuse_beyond_limits(limited[name], (value,))
    return values


@memoized
def _limited_columns(mapper: Mapper[Any]) -> Mapping[str, Column[Any]]:
    """Return the columns that cannot hold every value of their kind, by attribute name."""
    columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in columns.items() if isinstance(column, Column) and is_limited(column.type)}


def _checked_values(mapper: Mapper[Any], name: str, batch: Batch, column_type: object) -> Sequence[Any]:
    values = batch.fields[name]
    if name in (limited := _limited_columns(mapper)):
        refuse_beyond_limits(limited[name], values)
    if batch.kinds(name) <= _TAKEN_AS_THEY_ARE:
        return values
    return [value if value is MISSING else _checked_value(mapper, name, value, column_type) for value in values]


def _checked_value(mapper: Mapper[Any], name: str, value: object, column_type: object) -> object:
    class_name = mapper.class_.__name__
    if name in mapper.relationships:
        if _holds(value, Mapping) or _holds(value, BaseModel):
            target = mapper.relationships[name].mapper.class_.__name__
            raise InvalidDataError(
                f"{class_name}.{name} takes {target} entities, not nested data; "
                f"set the foreign key, or create the {target} through its own repository"
            )
        return value
    if _holds(value, Mapping) and is_plain(column_type):
        # asyncmy would write the keys of a mapping into the statement as they are.
        raise InvalidDataError(f"{class_name}.{name} takes a single value, not a mapping")
    return to_jsonable_python(value, by_alias=False) if _holds(value, BaseModel) else value  # for a JSON column


def _not_writable(mapper: Mapper[Any], name: str, known: Mapping[str, Any]) -> InvalidDataError:
    class_name = mapper.class_.__name__
    if name in mapper.all_orm_descriptors:
        return InvalidDataError(f"{class_name}.{name} is computed and cannot be written")
    return UnknownFieldError(class_name, name, known)


@memoized
def _writable_fields(mapper: Mapper[Any]) -> Mapping[str, Any]:
    """Return the names that can be set, each with its column's type, or None where there is no column."""
    descriptors: Any = mapper.all_orm_descriptors
    return {
        name: getattr(descriptor, "type", None)
        for name, descriptor in descriptors.items()
        if _is_writable(mapper, name, descriptor)
    }


def _is_writable(mapper: Mapper[Any], name: str, descriptor: Any) -> bool:
    if name in mapper.column_attrs:
        return isinstance(mapper.column_attrs[name].columns[0], Column)
    if name in mapper.relationships:
        return not mapper.relationships[name].viewonly
    if descriptor.extension_type is HybridExtensionType.HYBRID_PROPERTY:
        return descriptor.fset is not None
    return descriptor.extension_type is not HybridExtensionType.HYBRID_METHOD


def is_plain(column_type: object) -> bool:
    """Tell whether a column holds one value a row, unlike JSON or an array."""
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance
    return isinstance(column_type, _PLAIN_TYPES)


def _holds(value: object, kind: type) -> bool:
    """Tell whether *value* is of *kind*, or a collection with such a member."""
    members = cast("Iterable[object]", value) if isinstance(value, (list, tuple, set)) else ()
    return isinstance(value, kind) or any(isinstance(member, kind) for member in members)
