"""How MariaDB is asked for rows: by many keys, in an order, and by values as it stores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, cast, type_coerce
from sqlalchemy.dialects.mysql import BIT, ENUM, SET, YEAR
from sqlalchemy.types import (
    BINARY,
    CHAR,
    VARBINARY,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    NullType,
    Numeric,
    String,
    Time,
    TypeEngine,
    Uuid,
)

from layered_backend.dialects.portable import INT64, PortableValues, declared_places
from layered_backend.dialects.sort_forms import SortForm, as_stored, bare, comparable, stored_type
from layered_backend.dialects.standard import StandardKeys, StandardOrdering

__all__ = ["MySQLKeys", "MySQLOrdering", "MySQLValues"]

_MICROSECOND_DIGITS = 6
_READ_WHOLE = (BINARY, VARBINARY, Date, DateTime, Integer, LargeBinary, NullType, String, Time, Uuid)
_NUMBER, _DECIMAL, _TEXT = Integer(), Numeric(), String()
_DOUBLE: Double[float] = Double()


class MySQLKeys(StandardKeys):
    """Gives many keys one by one."""

    parameter_limit = 65_535


class MySQLOrdering(StandardOrdering):
    """Has no NULLS FIRST, and seeks by no comparison of rows."""

    seeks_by_row = False  # it takes no range of an index for a comparison of rows
    fixes_by_range = True

    def with_nulls_placed(
        self, expression: ColumnElement[Any], direction: ColumnElement[Any], *, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return two clauses: there is no NULLS FIRST here."""
        is_null = comparable(expression).is_(None)
        return (is_null.desc() if nulls_first else is_null.asc(), direction)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the values; of 4-byte floats, which are printed with 6 digits, as doubles.

        A column of an ENUM is sorted by number, of which no comparison is a range of an index; any other expression of its
        type is sorted by name.
        """
        stored = stored_type(expression.type, dialect)
        if isinstance(stored, CHAR) and "nopad" in (stored.collation or ""):
            raise TypeError(
                f"cursor pages cannot be sorted by {expression}: MariaDB sorts CHAR with the blanks that NOPAD compares without; "
                "make it a VARCHAR"
            )
        if isinstance(stored, ENUM | SET | BIT) and isinstance(bare(expression), Column):
            number = type_coerce(expression, _NUMBER)
            return replace(as_stored(expression, _NUMBER, read=number + 0), is_combinable=False)
        if isinstance(stored, Float):
            return as_stored(expression, _DOUBLE, read=cast(expression, _DOUBLE))
        if isinstance(stored, Numeric):
            return as_stored(expression, _DECIMAL)
        if isinstance(stored, Boolean | YEAR):
            return as_stored(expression, _NUMBER)
        if isinstance(stored, _READ_WHOLE):
            return as_stored(expression, _TEXT if isinstance(stored, Enum | SET) else stored)
        raise TypeError(
            f"cursor pages cannot be sorted by {expression}: what MariaDB sorts of its type cannot be compared"
        )


class MySQLValues(PortableValues):
    """Has unsigned integers, fractions of a second as declared, and floats of 4 bytes unless they are doubles."""

    def integers(self, column_type: Integer) -> range:
        return range(2**64) if getattr(column_type, "unsigned", False) else INT64

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        own_type = column_type.dialect_impl(dialect)
        if isinstance(own_type, Interval):  # it is a moment here
            own_type = own_type.impl_instance
        digits: int = getattr(own_type, "fsp", None) or 0
        if isinstance(own_type, DateTime | Time) and digits < _MICROSECOND_DIGITS:
            return partial(_cut_off, digits=digits)
        return super().stored_form(column_type, dialect)

    def decimal_places(self, column_type: TypeEngine[Any]) -> int | None:
        return declared_places(column_type, default=0)  # DECIMAL means DECIMAL(10, 0)

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        is_float = isinstance(column_type, Float) and not isinstance(column_type, Double)
        precision = column_type.precision if isinstance(column_type, Float) else None
        return (is_float and precision is None) or super().is_single_precision(column_type)


def _cut_off(value: datetime | time | timedelta, digits: int) -> datetime | time | timedelta:
    """Leave out what a column with so many *digits* of a second cuts off."""
    unit = 10 ** (_MICROSECOND_DIGITS - digits)
    if isinstance(value, timedelta):
        return value - value % timedelta(microseconds=unit)
    return value.replace(microsecond=value.microsecond // unit * unit)
