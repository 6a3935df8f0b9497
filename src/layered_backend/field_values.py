"""Field values of an entity, from the mapping or the Pydantic model that a caller passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypedDict, cast

from pydantic import BaseModel
from sqlalchemy import Column, Dialect, inspect, literal_column
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from layered_backend.batch import MISSING, Batch, is_left_out
from layered_backend.columns import ColumnKind, kind_of
from layered_backend.dialects import dialect_named
from layered_backend.errors import ConflictError, InvalidDataError, UnknownFieldError
from layered_backend.memoization import memoized
from layered_backend.query.column_limits import is_limited, refuse_beyond_limits
from layered_backend.upstream.sqlalchemy.schema import takes_no_context

__all__ = [
    "Data",
    "Options",
    "as_stored",
    "changed_values",
    "is_plain",
    "new_batch",
    "new_values",
    "options_of",
    "stored_batch",
    "whole_values",
]

_HYBRID = ColumnKind()  # its setter gets what is given

Data = Mapping[str, Any] | BaseModel
"""Data for a repository to write: a mapping by attribute name, or a Pydantic model."""


class Options(TypedDict, total=False):
    """The options of `create` and `update` that go with the data of a client."""

    exclude: Collection[str]
    values: Mapping[str, Any] | None


def options_of(exclude: Collection[str], values: Mapping[str, Any] | None) -> Options:
    """Return the options that are given, for a method that may be an override without them."""
    return {"exclude": exclude, "values": values} if exclude or values else {}


def new_values(
    mapper: Mapper[Any], data: Data, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values of a new entity: the fields that *data* sets, and the defaults of its schema.

    A field that was omitted and whose default is None is left to the mapped class and its own default.

    Args:
        mapper: The mapper of the mapped class.
        data: The data of a client.
        exclude: The fields of *data* to leave out.
        values: Values by attribute name, which win over those of *data*.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*, or *data* one of *exclude*.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
        TypeError: *data* is neither a mapping nor a Pydantic model.
    """
    return _checked(mapper, _combined(data, _given(data), exclude, values))


def new_batch(mapper: Mapper[Any], rows: Sequence[Data]) -> Batch:
    """Return the values of many new entities, as `new_values` does, by field.

    Raises:
        UnknownFieldError: The mapped class lacks a field of a row.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
        TypeError: A row is neither a mapping nor a Pydantic model.
    """
    batch = Batch.of([_given(data) for data in rows])
    known = _writable_fields(mapper)
    for name in batch.fields:
        if name not in known:
            raise _not_writable(mapper, name, known)
    fields = {name: _checked_values(mapper, name, batch, known[name]) for name in batch.fields}
    return Batch(fields, batch.size)


def changed_values(
    mapper: Mapper[Any], data: Data, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values to change: an omitted field stays as it is, an explicit None is written.

    Args:
        mapper: The mapper of the mapped class.
        data: The data of a client.
        exclude: The fields of *data* to leave out.
        values: Values by attribute name, which win over those of *data*.

    Raises:
        UnknownFieldError: The mapped class lacks a field of *data*, or *data* one of *exclude*.
        InvalidDataError: A field cannot be written, or a relationship got nested data.
        TypeError: *data* is neither a mapping nor a Pydantic model.
    """
    return _checked(mapper, _combined(data, _fields_set(data), exclude, values))


def whole_values(mapper: Mapper[Any], key: object, data: Data) -> dict[str, Any]:
    """Return the values of an entity that is replaced: all the fields of *data*, an omitted one by its default.

    The default is the schema's, or the mapped class's where that is None, as for a new entity. The key stays.

    Raises:
        ConflictError: *data* gives another key.
        InvalidDataError: A default of the mapped class depends on the INSERT.
    """
    values = {name: value for name, value in _given(data).items() if not is_left_out(value)}
    omitted: set[str] = set() if isinstance(data, Mapping) else type(data).model_fields.keys() - values.keys()
    fixed = {mapper.get_property_by_column(column).key: column for column in mapper.primary_key}
    version = mapper.version_id_col
    kept = {*fixed} if version is None else {*fixed, mapper.get_property_by_column(version).key}
    for name in sorted(omitted - kept):
        values[name] = _default(mapper, name)
    if values.keys() & fixed.keys():
        _drop_key(mapper, [*fixed], key, values)
    return values


def as_stored(mapper: Mapper[Any], values: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return *values* as the database keeps them: it may cut fractions of a second off, and round decimal numbers.

    So what an entity has is what its row has, and a key is found by what it was written as.
    """
    forms = stored_forms(mapper, dialect)
    if forms.keys().isdisjoint(values):
        return values
    return {name: forms[name](value) if name in forms else value for name, value in values.items()}


def stored_batch(mapper: Mapper[Any], batch: Batch, dialect: Dialect) -> Batch:
    """Return the rows of *batch* as the database keeps them, as `as_stored` does."""
    forms = stored_forms(mapper, dialect)
    cut = {name: [form(each) for each in batch.fields[name]] for name, form in forms.items() if name in batch.fields}
    return Batch({**batch.fields, **cut}, batch.size, batch.numbers) if cut else batch


@memoized
def stored_forms(mapper: Mapper[Any], dialect: Dialect) -> Mapping[str, Callable[[Any], Any]]:
    """Return the attributes of which the database keeps less than they are given, with what it makes of a value."""
    kept_form = dialect_named(dialect.name).values.kept_form
    forms = {attribute.key: kept_form(attribute.columns[0].type, dialect) for attribute in mapper.column_attrs}
    return {name: form for name, form in forms.items() if form is not None}


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
    given = dict(_fields_set(data))
    defaults = {name: getattr(data, name) for name in type(data).model_fields if name not in given}
    return {name: value for name, value in defaults.items() if value is not None} | given


def _fields_set(data: Data) -> Mapping[str, Any]:
    """Return the fields as the model holds them: its serializers and aliases are for responses.

    Raises:
        TypeError: *data* is neither a mapping nor a Pydantic model.
    """
    if isinstance(data, Mapping):
        return data
    if not isinstance(data, BaseModel) or _is_mapped(type(data)):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise TypeError(_refusal(data))
    return {name: getattr(data, name) for name in data.model_fields_set}


def _refusal(data: object) -> str:
    kind = type(data)
    if _is_mapped(kind):
        return f"{kind.__name__} is an entity, which add() writes; data is a mapping by attribute name, or a Pydantic model"
    advice = "the fields by name"
    if is_dataclass(data):
        advice = "dataclasses.asdict(data)"
    elif hasattr(kind, "__attrs_attrs__"):
        advice = "attrs.asdict(data)"
    elif hasattr(kind, "__struct_fields__"):
        advice = "msgspec.structs.asdict(data)"
    return f"data is a mapping by attribute name, or a Pydantic model, not {kind.__name__}; pass {advice}"


@memoized
def _is_mapped(kind: type[Any]) -> bool:
    return inspect(kind, raiseerr=False) is not None


def _combined(
    data: Data, given: Mapping[str, Any], exclude: Collection[str], values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what *data* gives without *exclude*, and *values* in its place."""
    combined = dict(given)
    if isinstance(exclude, str):
        raise TypeError(f"exclude= takes names of fields, such as {{{exclude!r}}}, not text")
    for name in exclude:
        if combined.pop(name, None) is None and isinstance(data, BaseModel) and name not in type(data).model_fields:
            raise UnknownFieldError(type(data).__name__, name, type(data).model_fields)
    return combined | dict(values) if values else combined


def _checked(mapper: Mapper[Any], values: dict[str, Any]) -> dict[str, Any]:
    known, limited = _writable_fields(mapper), _limited_columns(mapper)
    for name, value in [*values.items()]:
        if name not in known:
            raise _not_writable(mapper, name, known)
        written = known[name].written
        if written is None or type(value) not in written:
            if is_left_out(value):
                del values[name]
                continue
            values[name] = _checked_value(mapper, name, value, known[name])
        if name in limited:
            refuse_beyond_limits(limited[name], (values[name],))
    return values


@memoized
def _limited_columns(mapper: Mapper[Any]) -> Mapping[str, Column[Any]]:
    """Return the columns that cannot hold every value of their kind, by attribute name."""
    columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in columns.items() if isinstance(column, Column) and is_limited(column.type)}


def _checked_values(mapper: Mapper[Any], name: str, batch: Batch, kind: ColumnKind) -> Sequence[Any]:
    values, types = batch.fields[name], batch.kinds(name)
    if kind.written is None or not types <= kind.written | {type(MISSING)}:
        values = [MISSING if is_left_out(value) else _checked_value(mapper, name, value, kind) for value in values]
    if name in (limited := _limited_columns(mapper)):
        refuse_beyond_limits(limited[name], values)
    return values


def _checked_value(mapper: Mapper[Any], name: str, value: object, kind: ColumnKind) -> object:
    class_name = mapper.class_.__name__
    if name in mapper.relationships:
        if _is_nested(value):
            target = mapper.relationships[name].mapper.class_.__name__
            raise InvalidDataError(
                f"{class_name}.{name} takes {target} entities, not nested data; "
                f"set the foreign key, or create the {target} through its own repository"
            )
        return value
    try:
        return kind.writing(value)
    except ValueError as error:
        raise InvalidDataError(f"{class_name}.{name} {error}") from error


def _not_writable(mapper: Mapper[Any], name: str, known: Mapping[str, Any]) -> InvalidDataError:
    class_name = mapper.class_.__name__
    if name in mapper.all_orm_descriptors:
        return InvalidDataError(f"{class_name}.{name} is computed and cannot be written")
    return UnknownFieldError(class_name, name, known)


@memoized
def _writable_fields(mapper: Mapper[Any]) -> Mapping[str, ColumnKind]:
    """Return the names that can be set, each with the kind of its column."""
    descriptors: Any = mapper.all_orm_descriptors
    return {
        name: kind_of(descriptor.type) if name in mapper.column_attrs else _HYBRID
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


def is_plain(column_type: TypeEngine[Any]) -> bool:
    """Tell whether a column holds one value a row that the database compares, unlike JSON or an array."""
    return kind_of(column_type).has_equality


def _is_nested(value: object) -> bool:
    """Tell whether *value* is data of an entity, or a collection with such a member."""
    members = cast("Sequence[object]", value) if isinstance(value, (list, tuple, set)) else (value,)
    return any(issubclass(kind, (Mapping, BaseModel)) for kind in map(type, members) if not _is_mapped(kind))
