"""How PostgreSQL is asked for rows: by many keys, in an order, and by values as it stores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, any_, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import (
    CHAR,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    LargeBinary,
    NullType,
    Numeric,
    SmallInteger,
    String,
    Text,
    Time,
    TypeEngine,
    Uuid,
)

from layered_backend.columns import kind_of
from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.portable import INT64, PortableValues, declared_places
from layered_backend.dialects.sort_forms import SortForm, as_stored, comparable, parameter, stored_type
from layered_backend.dialects.standard import StandardKeys, StandardOrdering

__all__ = ["PostgreSQLKeys", "PostgreSQLOrdering", "PostgreSQLValues"]

INT32 = range(-(2**31), 2**31)
INT16 = range(-(2**15), 2**15)

_READ_WHOLE = (Boolean, Date, DateTime, Integer, LargeBinary, NullType, Time, Uuid)
_FLOATS, _VARYING = ("FLOAT", "REAL", "DOUBLE PRECISION"), ("VARCHAR", "TEXT")
_NAMED = (Float, Numeric, String)
_DECIMAL, _TEXT = Numeric(), Text()
_DOUBLE: Double[float] = Double()


class PostgreSQLKeys(StandardKeys):
    """Gives many keys as an array for each column."""

    parameter_limit = 32_767  # of asyncpg; psycopg takes twice as many

    def given(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        return _given_as_arrays(key)


def _given_as_arrays(key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
    """Return how PostgreSQL is asked, with an array for each column; None where a type does not allow it."""
    if any(kind_of(column.type).key is None for column in key):
        return None

    def among(arrays: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        if len(key) == 1:
            return key[0] == any_(arrays[0])
        return tuple_(*key).in_(select(*(func.unnest(array) for array in arrays)))

    return GivenKeys([ARRAY(column.type) for column in key], among, _columns)


def _columns(keys: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return [list(values) for values in zip(*keys, strict=True)]


class PostgreSQLOrdering(StandardOrdering):
    """Puts NULL behind every value, and compares what Python cannot read as text."""

    nulls_are_greatest = True
    sorts_by_fixed_nulls = True

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the values, of doubles and decimals as they are, and of what is read otherwise as text.

        Python has no months in an interval, CHAR is not compared as VARCHAR is, and psycopg reads 4-byte floats as they
        are printed. As text, every type gives back all that it got.
        """
        stored = stored_type(expression.type, dialect)
        # By class, a float is a Numeric with psycopg and SQLAlchemy 2.0, and CHAR any String with psycopg.
        ddl = dialect.type_compiler_instance.process(expression.type) if isinstance(stored, _NAMED) else ""
        if ddl.startswith(_FLOATS):
            return as_stored(expression, _DOUBLE, read=cast(expression, _DOUBLE))
        if isinstance(stored, Numeric):  # without a precision, which would round what an expression of the column gives
            return as_stored(expression, _DECIMAL)
        if isinstance(stored, _READ_WHOLE) or ddl.startswith(_VARYING):
            return as_stored(expression, String() if isinstance(stored, Enum) else stored)
        column_type = (
            CHAR(stored.length) if isinstance(stored, String) and ddl.startswith("CHAR") else expression.type
        )  # CAST takes no collation
        return SortForm(
            comparable(expression),
            cast(expression, _TEXT),
            lambda value: cast(parameter(value, _TEXT), column_type),
        )


class PostgreSQLValues(PortableValues):
    """Has integers of three sizes, and no NUL in a text."""

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        return super().holds(column_type, value) and not (isinstance(value, str) and "\x00" in value)

    def integers(self, column_type: Integer) -> range:
        if isinstance(column_type, BigInteger):
            return INT64
        return INT16 if isinstance(column_type, SmallInteger) else INT32

    def decimal_places(self, column_type: TypeEngine[Any]) -> int | None:
        return declared_places(column_type)

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        return _without_blanks if isinstance(column_type, CHAR) else super().stored_form(column_type, dialect)


def _without_blanks(value: str) -> str:
    """Leave out the blanks at the end, which CHAR adds and ignores."""
    return value.rstrip(" ")
