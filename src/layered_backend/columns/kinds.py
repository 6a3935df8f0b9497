"""Column kinds: one table of what the values of a column are, and what may be done with them.

A new type of columns is one entry here. What an application's own type (a TypeDecorator, a UserDefinedType) takes, compares
and gives back is its own affair: it gets the Python object untouched.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, cast

from sqlalchemy.dialects.mysql import SET
from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    TypeDecorator,
    TypeEngine,
    Uuid,
)

from layered_backend.columns.comparison import is_same_json, is_same_value
from layered_backend.columns.parsing import (
    parse_boolean,
    parse_bytes,
    parse_choice,
    parse_date,
    parse_decimal,
    parse_float,
    parse_interval,
    parse_member,
    parse_moment,
    parse_text,
    parse_time,
    parse_uuid,
    parse_whole,
)
from layered_backend.columns.writing import (
    is_expression,
    write_array,
    write_json,
    write_number,
    write_single,
    write_text,
    write_whole,
)

__all__ = ["AWARE_MOMENT", "DECIMAL", "NOTATIONS", "ColumnKind", "Notation", "is_same_to", "kind_of"]

_NOTHING = type(None)
_SINGLE: frozenset[type] = frozenset(
    {_NOTHING, bool, int, float, str, bytes, Decimal, uuid.UUID, date, datetime, time, timedelta}
)
_JSON: frozenset[type] = frozenset({_NOTHING, bool, int, float, str})


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Notation:
    """The text form, in a cursor, of a type that JSON lacks.

    Attributes:
        tag: Its name in the cursor.
        type: The type.
        write: From a value to its text.
        read: From the text to the value.
    """

    tag: str
    type: type[Any]
    write: Callable[[Any], str]
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """The values of a kind of columns: their types, and what is done with them.

    Attributes:
        types: The types of the values that a seeder gives and that stay as they are; None for any.
        parse: From another value that a seeder or a file gives to one that the column holds; raises ValueError with a sentence.
        written: The types of the values that a repository writes as they are; None for any.
        write: From another value to what is written; raises ValueError with the end of a sentence.
        is_same: Tells whether a value is the stored one.
        key: The type that a part of a key has; None if the database may compare it by its own rules.
        has_equality: Whether the database tells by itself whether two values are the same.
        is_kept: Whether values cannot be changed in place.
        notation: How a cursor holds its values; None if JSON has them.
    """

    types: frozenset[type] | None = None
    parse: Callable[[Any], Any] = _unchanged
    written: frozenset[type] | None = None
    write: Callable[[Any], Any] = _unchanged
    is_same: Callable[[Any, Any], bool] = is_same_value
    key: type | None = None
    has_equality: bool = False
    is_kept: bool = False
    notation: Notation | None = None

    def writing(self, value: Any) -> Any:
        """Return what the column gets of *value*.

        Raises:
            ValueError: It cannot be written; the message is a sentence that lacks its subject.
        """
        if self.written is None or type(value) in self.written or is_expression(value):
            return value
        return self.write(value)


def _single(
    types: type | None,
    parse: Callable[[Any], Any],
    write: Callable[[Any], Any] = write_single,
    *,
    key: type | None = None,
    notation: Notation | None = None,
) -> ColumnKind:
    """Return the kind of columns that hold one value a row."""
    unchanged = frozenset({types} if types else ())
    return ColumnKind(unchanged, parse, _SINGLE, write, key=key, has_equality=True, is_kept=True, notation=notation)


def _uuid_as_text(value: object) -> str:
    return str(parse_uuid(value))


_MICROSECOND = timedelta(microseconds=1)
_MOMENTS = Notation("datetime", datetime, datetime.isoformat, datetime.fromisoformat)
_DATES = Notation("date", date, date.isoformat, date.fromisoformat)
_TIMES = Notation("time", time, time.isoformat, time.fromisoformat)
_INTERVALS = Notation(
    "microseconds", timedelta, lambda value: str(value // _MICROSECOND), lambda text: int(text) * _MICROSECOND
)
_DECIMALS = Notation("decimal", Decimal, str, Decimal)
_UUIDS = Notation("uuid", uuid.UUID, str, uuid.UUID)
_BYTES = Notation("bytes", bytes, bytes.hex, bytes.fromhex)

_TEXT = replace(_single(str, parse_text, write_text, key=str), written=_SINGLE - {uuid.UUID})
_WHOLE = _single(int, parse_whole, write_whole, key=int)
_FLOAT = _single(float, parse_float, write_number)
DECIMAL = _single(Decimal, parse_decimal, write_number, notation=_DECIMALS)
AWARE_MOMENT = _single(None, partial(parse_moment, is_aware=True), notation=_MOMENTS)
_NAIVE_MOMENT = _single(None, partial(parse_moment, is_aware=False), notation=_MOMENTS)
_UUID = _single(uuid.UUID, parse_uuid, key=uuid.UUID, notation=_UUIDS)
_UUID_AS_TEXT = replace(_TEXT, types=frozenset(), parse=_uuid_as_text, key=None)
_RAW = replace(_single(bytes, parse_bytes, notation=_BYTES), has_equality=False)
_OWN = ColumnKind()


def _enum(column_type: Enum) -> ColumnKind:
    enum_class = cast("type | None", column_type.enum_class)
    if enum_class is None:
        return _single(None, partial(parse_choice, choices=tuple(column_type.enums)))
    return _single(enum_class, partial(parse_member, enum_class=enum_class))


def _array(column_type: ARRAY[Any]) -> ColumnKind:
    item = kind_of(column_type.item_type)
    return ColumnKind(written=frozenset({_NOTHING}), write=partial(write_array, write=item.writing))


_TABLE: Mapping[type, ColumnKind | Callable[[Any], ColumnKind]] = {
    ARRAY: _array,
    Boolean: _single(bool, parse_boolean),
    Date: _single(date, parse_date, notation=_DATES),
    DateTime: lambda column_type: AWARE_MOMENT if column_type.timezone else _NAIVE_MOMENT,
    Enum: _enum,
    Float: lambda column_type: DECIMAL if column_type.asdecimal else _FLOAT,
    Integer: _WHOLE,
    Interval: _single(timedelta, parse_interval, notation=_INTERVALS),
    JSON: ColumnKind(None, write_json, _JSON, write_json, is_same_json),
    LargeBinary: _RAW,
    Numeric: lambda column_type: DECIMAL if column_type.asdecimal else _FLOAT,
    SET: _OWN,
    String: _TEXT,
    Time: _single(time, parse_time, notation=_TIMES),
    Uuid: lambda column_type: _UUID if column_type.as_uuid else _UUID_AS_TEXT,
}

NOTATIONS: Mapping[str, Notation] = {
    # A datetime is a date too, so it comes first.
    each.tag: each
    for each in (_MOMENTS, _DATES, _TIMES, _INTERVALS, _DECIMALS, _UUIDS, _BYTES)
}
"""The notations of cursors, by tag."""


@lru_cache(maxsize=1_000)  # types of columns
def kind_of(column_type: TypeEngine[Any]) -> ColumnKind:
    """Return the kind of columns of *column_type*; an application's own type may hold anything."""
    declared: ColumnKind | None = getattr(type(column_type), "column_kind", None)  # of a type of this library
    if declared is not None:
        return declared
    for base in type(column_type).__mro__:
        if base in _TABLE:
            entry = _TABLE[base]
            return entry if isinstance(entry, ColumnKind) else entry(column_type)
    own = replace(_OWN, is_same=partial(_is_same_own, column_type))
    if not isinstance(column_type, TypeDecorator):
        return own
    inner = kind_of(column_type.impl_instance)
    own = replace(own, has_equality=inner.has_equality)
    return own if _converts(column_type) else replace(own, written=inner.written, write=inner.write)


def is_same_to(column_type: TypeEngine[Any], one: Any, other: Any) -> bool:
    """Tell whether *column_type* takes two values for the same, and so SQLAlchemy does: it does not for most arrays."""
    try:
        return column_type.compare_values(one, other) is True
    except Exception:  # noqa: BLE001  # an array of another shape
        return False


def _is_same_own(column_type: TypeEngine[Any], one: Any, other: Any) -> bool:
    return is_same_value(one, other) or is_same_to(column_type, one, other)


def _converts(column_type: TypeDecorator[Any]) -> bool:
    """Tell whether the type does something to values on their way to the database."""
    own = type(column_type)
    return any(
        getattr(own, name) is not getattr(TypeDecorator, name)
        for name in ("process_bind_param", "bind_processor", "bind_expression")
    )
