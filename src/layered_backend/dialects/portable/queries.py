"""Keys, orders and values in the SQL that every database has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Dialect, and_, case, or_
from sqlalchemy.types import REAL, Enum, Float, Integer, Numeric, String, TypeEngine

from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.protocols import Keys, Ordering, Values
from layered_backend.dialects.sort_forms import SortForm, as_stored, comparable, stored_type

__all__ = ["INT64", "PortableKeys", "PortableOrdering", "PortableValues", "declared_places"]

INT64 = range(-(2**63), 2**63)

_SINGLE_PRECISION = 24  # bits
_MANY_DIGITS = Context(prec=1_000)
_CUT = frozenset({datetime, time, timedelta, Decimal})


class PortableKeys(Keys):
    """Asks for rows by IN where the key is one column, else by each key's values."""

    parameter_limit: int = 900  # some databases take no more than 999

    def among(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        given = self.given(key)
        criterion = None if given is None else given.criterion_of(identities)
        if criterion is not None:
            return criterion
        if len(key) == 1:
            return key[0].in_([identity[0] for identity in identities])
        return self.among_rows(key, identities)

    def among_rows(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        """Return the criterion for a *key* of several columns."""
        each = [and_(*(column == value for column, value in zip(key, row, strict=True))) for row in identities]
        return or_(*each)

    def given(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        return None


class PortableOrdering(Ordering):
    """Sorts NULL by a CASE, as not every database has NULLS FIRST, and compares column by column."""

    nulls_are_greatest: bool = False
    seeks_by_row: bool = False
    seeks_past_ties: bool = False
    sorts_by_fixed_nulls: bool = False
    fixes_by_range: bool = False

    def sorted_with_nulls(
        self, expression: ColumnElement[Any], *, is_descending: bool, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        direction = expression.desc() if is_descending else expression.asc()
        if self.places_nulls(is_descending=is_descending, nulls_first=nulls_first):
            return (direction,)
        return self.with_nulls_placed(expression, direction, nulls_first=nulls_first)

    def places_nulls(self, *, is_descending: bool, nulls_first: bool) -> bool:
        """Return False: where the database puts NULL by itself is not known."""
        return False

    def with_nulls_placed(
        self, expression: ColumnElement[Any], direction: ColumnElement[Any], *, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return *direction*, of *expression*, with NULL where the database itself would not put it."""
        is_null = case((comparable(expression).is_(None), 0 if nulls_first else 1), else_=1 if nulls_first else 0)
        return (is_null, direction)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        return as_stored(expression, stored_type(expression.type, dialect))


class PortableValues(Values):
    """Integers of 64 bits, text of any characters, and floating-point numbers of 8 bytes unless the type says less."""

    decimal_type: Numeric[Any] | Float[Any] | None = None

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        if isinstance(column_type, Integer):
            return isinstance(value, int) and value in self.integers(column_type)
        if isinstance(column_type, String) and not isinstance(column_type, Enum):
            return isinstance(value, str) and _is_encodable(value)
        return True

    def integers(self, column_type: Integer) -> range:
        """Return the integers that a column of *column_type* can hold."""
        return INT64

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        own_type = column_type.dialect_impl(dialect)
        if self.is_single_precision(own_type):
            return _in_single_precision
        # By class, a float is a Numeric with psycopg and SQLAlchemy 2.0.
        places = None if isinstance(column_type, Float) else self.decimal_places(own_type)
        return None if places is None else partial(_rounded, places=places)

    def kept_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        form = self.stored_form(column_type, dialect)
        if form is None or form is _in_single_precision:
            return None
        return lambda value: form(value) if type(value) in _CUT else value

    def decimal_places(self, column_type: TypeEngine[Any]) -> int | None:
        """Return how many digits behind the point a column rounds numbers to; None where it is not known to round."""
        return None

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        """Tell whether a column keeps floating-point numbers in 4 bytes."""
        precision = column_type.precision if isinstance(column_type, Float) else None
        return isinstance(column_type, REAL) or (precision is not None and precision <= _SINGLE_PRECISION)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def declared_places(column_type: TypeEngine[Any], default: int | None = None) -> int | None:
    """Return how many digits behind the point a decimal column declares, or *default* for one without any digits."""
    if not isinstance(column_type, Numeric) or isinstance(column_type, Float):
        return None
    return default if column_type.precision is None else column_type.scale or 0


def _rounded(value: Decimal, places: int) -> Decimal:
    """Return *value* with so many *places* behind the point, half a unit away from zero, as SQL has it."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent <= places:
        return value
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _MANY_DIGITS)


def _in_single_precision(value: float) -> float:
    return float(f"{value:.6g}")  # the digits that 4 bytes keep of any decimal number
