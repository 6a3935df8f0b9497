"""Value types: how a value, written in Python or in a file, becomes one that a column holds."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar, cast

from pydantic_core import to_jsonable_python
from sqlalchemy import (
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
    Uuid,
)
from sqlalchemy.types import TypeEngine

from layered_backend.models import ExactDecimal, UTCDateTime

__all__ = ["ValueType", "is_same_json", "is_same_number", "value_type_of"]

MomentT = TypeVar("MomentT", date, datetime, time)

_TRUTHS: Mapping[object, bool] = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class ValueType:
    """The Python values of a column.

    Attributes:
        types: The types whose values stay unchanged; None for any.
        convert: Converts a value of another type, or raises ValueError with a sentence.
    """

    types: frozenset[type] | None
    convert: Callable[[Any], Any]


def value_type_of(column_type: TypeEngine[Any]) -> ValueType:  # noqa: PLR0911  # a table
    """Return the value type of a *column_type*; an application's own type may hold anything."""
    match column_type:
        case Enum(enum_class=None):
            return ValueType(frozenset(), partial(_choice, choices=tuple(column_type.enums)))
        case Enum(enum_class=enum_class):
            return ValueType(frozenset({cast("type", enum_class)}), partial(_member, enum_class=enum_class))
        case UTCDateTime() | DateTime(timezone=True):
            return ValueType(frozenset(), partial(_moment, is_aware=True))
        case DateTime():
            return ValueType(frozenset(), partial(_moment, is_aware=False))
        case Numeric(asdecimal=False) | Float(asdecimal=False):
            return ValueType(frozenset({float}), _float)
        case ExactDecimal() | Numeric():
            return ValueType(frozenset({Decimal}), _decimal)
        case Uuid(as_uuid=False):
            return ValueType(frozenset(), lambda value: str(_uuid(value)))
        case JSON():
            return ValueType(None, to_jsonable_python)
        case _:
            kinds = (entry for kind, entry in _BY_TYPE if isinstance(column_type, kind))
            return next(kinds, ValueType(None, lambda value: value))


def _refused(value: object, wanted: str) -> ValueError:
    return ValueError(f"the column takes {wanted}, not {type(value).__name__} ({_short(value)})")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004  # as much as a message bears


def _whole(value: object) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise _refused(value, "a whole number") from None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise _refused(value, "a whole number")


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass
    raise _refused(value, "a decimal number")


def _float(value: object) -> float:
    if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise _refused(value, "a number")


def _boolean(value: object) -> bool:
    known = value.strip().lower() if isinstance(value, str) else value
    if isinstance(known, str | int) and known in _TRUTHS:
        return _TRUTHS[known]
    raise _refused(value, "true or false")


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration, its value
    raise _refused(value, "text (in a file, put it in quotes)")


def _choice(value: object, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return str.__str__(value)
    raise ValueError(f"the column takes {' or '.join(map(repr, choices))}, not {_short(value)}")


def _member(value: object, enum_class: Any) -> object:
    if isinstance(value, str) and value in enum_class.__members__:
        return enum_class[value]
    try:
        return enum_class(value)
    except ValueError:
        raise _refused(value, f"a {enum_class.__name__} ({', '.join(enum_class.__members__)})") from None


def _moment(value: object, *, is_aware: bool) -> datetime:
    wanted = "a date and time with its offset from UTC" if is_aware else "a date and time without an offset from UTC"
    moment = _parsed(value, datetime, wanted)
    if (moment.tzinfo is not None) is not is_aware:
        raise _refused(value, wanted)
    return moment


def _date(value: object) -> date:
    if isinstance(value, datetime):
        raise _refused(value, "a date without a time")
    return _parsed(value, date, "a date")


def _parsed(value: object, kind: type[MomentT], wanted: str) -> MomentT:
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        try:
            parsed: Any = kind
            return cast("MomentT", parsed.fromisoformat(value))
        except ValueError:
            pass
    raise _refused(value, f"{wanted}, as of ISO 8601")


def _interval(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    raise _refused(value, "a timedelta")


def _uuid(value: object) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(cast("str", value))
    except (AttributeError, TypeError, ValueError):
        raise _refused(value, "a UUID") from None


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise _refused(value, "bytes")


_BY_TYPE: tuple[tuple[type[TypeEngine[Any]], ValueType], ...] = (
    (Boolean, ValueType(frozenset({bool}), _boolean)),
    (Integer, ValueType(frozenset({int}), _whole)),
    (String, ValueType(frozenset({str}), _text)),
    (Date, ValueType(frozenset({date}), _date)),
    (Time, ValueType(frozenset({time}), partial(_parsed, kind=time, wanted="a time"))),
    (Interval, ValueType(frozenset({timedelta}), _interval)),
    (Uuid, ValueType(frozenset({uuid.UUID}), _uuid)),
    (LargeBinary, ValueType(frozenset({bytes}), _bytes)),
)


def is_same_json(one: object, other: object) -> bool:
    """Tell whether two values mean the same JSON: 1 is 1.0, and neither is true; the order of names does not count."""
    return bool(_with_truths_apart(one) == _with_truths_apart(other))


def _with_truths_apart(value: object) -> Any:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {name: _with_truths_apart(each) for name, each in items}
    if isinstance(value, (list, tuple)):
        return [_with_truths_apart(each) for each in cast("list[object]", value)]
    return ("truth", value) if isinstance(value, bool) else value


def is_same_number(one: float, other: float) -> bool:
    """Tell whether two floating-point numbers are the same; what is not a number is the same as itself."""
    return one == other or (math.isnan(one) and math.isnan(other))
