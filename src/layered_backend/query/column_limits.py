"""The limits of columns: the numbers and the texts that a column cannot hold, the same ones on every database.

SQLite would store them, MariaDB would answer with a driver's error, and PostgreSQL would undo the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnClause,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    Integer,
    Interval,
    Numeric,
    SmallInteger,
    String,
    Time,
    Uuid,
    make_url,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from layered_backend.errors import InvalidDataError
from layered_backend.memoization import unique

__all__ = ["holds", "is_limited", "refuse_beyond_limits", "refuse_text_search"]

_PLAIN_NUMBERS = (int, float, Decimal)
_HALF = Decimal("0.5")


def refuse_beyond_limits(column: ColumnClause[Any], values: Sequence[Any]) -> None:
    """Refuse *values* if one of them is beyond the limits of *column*.

    Args:
        column: The column that they are written to, or compared with.
        values: Of any type; one of another type than the column's is left to the driver.

    Raises:
        InvalidDataError: The column cannot hold a value; the error names the column.
    """
    if not is_limited(column.type):
        return
    if holds(column.type, values[0]) if len(values) == 1 else _hold_all(column.type, values):
        return
    refused = next((value for value in values if not holds(column.type, value)), None)
    if refused is not None:
        is_text = isinstance(refused, str)
        what = "text with a NUL character or half of a surrogate pair" if is_text else "a number of this size"
        table: str | None = getattr(column.table, "name", None)
        raise InvalidDataError(f"{what} does not fit {column.name}", table=table, columns=(column.name,))


def is_limited(column_type: object) -> bool:
    """Tell whether there is anything that a column of *column_type* cannot hold."""
    return isinstance(column_type, _LIMITED)


def refuse_text_search(operator: object, column: ColumnElement[Any]) -> None:
    """Refuse a search for a part of a text in what is no text: some databases compare it as if it were, and others do not.

    Args:
        operator: SQLAlchemy's operator, such as `Item.name.icontains` or the one of the expression that it returns.
        column: The column or the attribute that is searched.

    Raises:
        TypeError: The column is an enumeration of the database, a number, a truth value, a moment or a UUID.
    """
    name: str = getattr(operator, "__name__", "")
    if name in _PLAIN_COMPARISONS or _TEXT_SEARCHES.isdisjoint(name.split("_")):
        return
    column_type: object = getattr(column, "type", None)
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance
    is_enumeration = isinstance(column_type, Enum) and column_type.native_enum
    if is_enumeration or isinstance(column_type, _NO_TEXT):
        raise TypeError(
            f"{column} is no text to search in; compare it with ==, or with in_() and the values that are meant"
        )


def holds(column_type: TypeEngine[Any], value: object) -> bool:
    """Tell whether *value* is within the limits of a column of *column_type*.

    The limits of a number are those of the declared type. Where that has a variant for a database, the wider one counts.
    The length of a text is left to the database.
    """
    if isinstance(value, str):
        return not isinstance(column_type, String) or isinstance(column_type, Enum) or _is_text(value)
    if not isinstance(value, _PLAIN_NUMBERS) or not isinstance(column_type, _LIMITED):
        return True
    try:
        return _holds_number(column_type, value) or any(
            _holds_number(column_type.dialect_impl(dialect), value) for dialect in _dialects()
        )
    except InvalidOperation:  # it is not a number
        return False


_LIMITED = (Integer, Numeric, String)
_NO_TEXT = (Boolean, Date, DateTime, Float, Integer, Interval, Numeric, Time, Uuid)
_PLAIN_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "in_op"})
_TEXT_SEARCHES = frozenset(
    f"{prefix}{name}" for prefix in ("", "i") for name in ("contains", "startswith", "endswith", "like")
)


def _hold_all(column_type: TypeEngine[Any], values: Sequence[Any]) -> bool:
    """Tell whether a cheap check shows that the column holds all of many *values*."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {str}:
        return holds(column_type, "".join(filter(None, values)))
    if kinds == {int}:
        numbers = [value for value in values if value is not None]
        return holds(column_type, min(numbers)) and holds(column_type, max(numbers))
    return kinds.isdisjoint({*_PLAIN_NUMBERS, str})


def _is_text(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _holds_number(column_type: TypeEngine[Any], value: Any) -> bool:
    if isinstance(column_type, Integer):
        bits = 64 if isinstance(column_type, BigInteger) else 16 if isinstance(column_type, SmallInteger) else 32
        if getattr(column_type, "unsigned", False):  # of MariaDB
            return bool(0 <= value < 2**bits)
        return bool(-(2 ** (bits - 1)) <= value < 2 ** (bits - 1))
    if isinstance(column_type, Float) or not isinstance(column_type, Numeric) or column_type.precision is None:
        return True
    scale = column_type.scale or 0
    # What is nearer to the limit than half of the last digit is rounded up to it.
    return bool(abs(value) < Decimal(10) ** (column_type.precision - scale) - _HALF.scaleb(-scale))


@unique
def _dialects() -> list[Dialect]:
    return [make_url(f"{name}://").get_dialect()() for name in ("postgresql", "mysql", "mariadb", "sqlite")]
