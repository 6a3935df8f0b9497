"""Parsing: how a value, written in Python or in a file, becomes one that a column holds.

Each function raises ValueError with a sentence for a value that its column cannot hold.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar, cast

__all__ = [
    "parse_boolean",
    "parse_bytes",
    "parse_choice",
    "parse_date",
    "parse_decimal",
    "parse_float",
    "parse_interval",
    "parse_member",
    "parse_moment",
    "parse_text",
    "parse_time",
    "parse_uuid",
    "parse_whole",
]

MomentT = TypeVar("MomentT", date, datetime, time)

_TRUTHS: Mapping[object, bool] = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False}


def _refused(value: object, wanted: str) -> ValueError:
    return ValueError(f"the column takes {wanted}, not {type(value).__name__} ({_short(value)})")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004  # as much as a message bears


def parse_whole(value: object) -> int:
    """Return a whole number."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise _refused(value, "a whole number") from None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise _refused(value, "a whole number")


def parse_decimal(value: object) -> Decimal:
    """Return a decimal number."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass
    raise _refused(value, "a decimal number")


def parse_float(value: object) -> float:
    """Return a floating-point number."""
    if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise _refused(value, "a number")


def parse_boolean(value: object) -> bool:
    """Return true or false, from words and numbers too."""
    known = value.strip().lower() if isinstance(value, str) else value
    if isinstance(known, str | int) and known in _TRUTHS:
        return _TRUTHS[known]
    raise _refused(value, "true or false")


def parse_text(value: object) -> str:
    """Return text; of an enumeration, its value."""
    if isinstance(value, str):
        return str.__str__(value)
    raise _refused(value, "text (in a file, put it in quotes)")


def parse_choice(value: object, choices: tuple[str, ...]) -> str:
    """Return the text, which is one of *choices*."""
    if isinstance(value, str) and value in choices:
        return str.__str__(value)
    raise ValueError(f"the column takes {' or '.join(map(repr, choices))}, not {_short(value)}")


def parse_member(value: object, enum_class: Any) -> object:
    """Return the member of *enum_class* that has the name, or the value."""
    if isinstance(value, str) and value in enum_class.__members__:
        return enum_class[value]
    try:
        return enum_class(value)
    except ValueError:
        raise _refused(value, f"a {enum_class.__name__} ({', '.join(enum_class.__members__)})") from None


def parse_moment(value: object, *, is_aware: bool) -> datetime:
    """Return a date and time, with an offset from UTC exactly if *is_aware*."""
    wanted = "a date and time with its offset from UTC" if is_aware else "a date and time without an offset from UTC"
    moment = _parsed(value, datetime, wanted)
    if (moment.tzinfo is not None) is not is_aware:
        raise _refused(value, wanted)
    return moment


def parse_date(value: object) -> date:
    """Return a date."""
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


def parse_time(value: object) -> time:
    """Return a time."""
    return _parsed(value, time, "a time")


def parse_interval(value: object) -> timedelta:
    """Return a timedelta."""
    if isinstance(value, timedelta):
        return value
    raise _refused(value, "a timedelta")


def parse_uuid(value: object) -> uuid.UUID:
    """Return a UUID."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(cast("str", value))
    except (AttributeError, TypeError, ValueError):
        raise _refused(value, "a UUID") from None


def parse_bytes(value: object) -> bytes:
    """Return bytes."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise _refused(value, "bytes")
