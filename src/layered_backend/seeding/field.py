"""Fields of a seeder's rows: each checks, converts and compares the values of one column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Column, Dialect
from sqlalchemy.orm import Mapper
from sqlalchemy.types import JSON, Float, Integer, Numeric, String

from layered_backend.batch import MISSING, is_left_out
from layered_backend.columns import ColumnKind, kind_of
from layered_backend.dialects import Values, dialect_named
from layered_backend.errors import UnknownFieldError
from layered_backend.seeding.files import EMPTY
from layered_backend.seeding.seeder import NewRow, Ref

__all__ = ["Field", "fields_of"]


_TAKEN_AS_THEY_ARE = (type(None), Ref, NewRow, type(MISSING))


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of the rows.

    Attributes:
        name: The name of the attribute.
        column: The column of the attribute.
        kind: The kind of the column.
        stored_form: Converts a value to the form it is compared in; None if values come back unchanged.
        impl: SQLAlchemy's own type of the column on this database.
        database_values: How the database holds values.
    """

    name: str
    column: Column[Any]
    kind: ColumnKind
    stored_form: Callable[[Any], Any] | None
    impl: Any
    database_values: Values

    @property
    def is_json(self) -> bool:
        """Tell whether values that are equal in Python may still differ."""
        return isinstance(self.impl, JSON)

    @property
    def is_optional(self) -> bool:
        """Tell whether None may be written, as NULL or as JSON's null."""
        return bool(self.column.nullable) or (self.is_json and not self.impl.none_as_null)

    @property
    def has_default(self) -> bool:
        """Tell whether a new row may leave it out."""
        column = self.column
        counts_up = column is column.table.autoincrement_column
        given = (column.default, column.server_default, column.identity, column.computed)
        return bool(column.nullable) or counts_up or any(each is not None for each in given)

    @property
    def is_computed(self) -> bool:
        return self.column.computed is not None

    def converted(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return *values*, each as the column holds it; references and what is left out stay.

        Raises:
            BadValueError: The value at that position cannot be such a one.
        """
        types = self.kind.types
        if types is not None and set(map(type, values)) <= types:
            return values
        return tuple(self._converted(position, value) for position, value in enumerate(values))

    def converted_key(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return *values* as `converted` does, in the form in which the database gives them back.

        Raises:
            BadValueError: The value at that position cannot be such a one.
        """
        values, form = self.converted(values), self.stored_form
        return values if form is None else tuple(v if isinstance(v, _TAKEN_AS_THEY_ARE) else form(v) for v in values)

    def _converted(self, position: int, value: object) -> object:
        if is_left_out(value):
            return MISSING
        if value is EMPTY:
            value = "" if isinstance(self.impl, String) and not self.column.nullable else None
        if isinstance(value, _TAKEN_AS_THEY_ARE) or type(value) in (self.kind.types or ()):
            return value
        try:
            return self.kind.parse(value)
        except ValueError as error:
            raise BadValueError(position, str(error)) from error

    def is_same(self, wanted: Any, stored: Any) -> bool:
        """Tell whether writing *wanted* over *stored* would change nothing."""
        if not self.is_json and (wanted is None or stored is None or isinstance(wanted, NewRow)):
            return wanted is stored
        if self.stored_form is not None:
            wanted, stored = self.stored_form(wanted), self.stored_form(stored)
        return self.kind.is_same(wanted, stored)

    def accepts_all(self, values: Sequence[Any]) -> bool:
        """Tell whether a cheap check shows that `refusal` accepts all of *values*."""
        kinds = set(map(type, values))
        if kinds == {str} and isinstance(self.impl, String):
            longest = max(cast("Sequence[str]", values), key=len)
            return self.database_values.holds(self.impl, "".join(values)) and self._text_refusal(longest) is None
        if kinds == {int} and isinstance(self.impl, Integer):
            return self.database_values.holds(self.impl, min(values)) and self.database_values.holds(
                self.impl, max(values)
            )
        return False

    def refusal(self, value: Any) -> str | None:
        """Return why *value* cannot be written, or None if it can."""
        if isinstance(value, NewRow):
            return None
        if value is None:
            return None if self.is_optional else "the column may not be empty"
        if isinstance(self.impl, String) and isinstance(value, str):
            return self._text_refusal(value)
        if isinstance(value, Decimal) and isinstance(self.column.type, Numeric):
            return _decimal_refusal(value, self.column.type)
        if isinstance(self.impl, Integer) and not self.database_values.holds(self.impl, value):
            return "the number is too large for the column"
        return None

    def _text_refusal(self, value: str) -> str | None:
        if not self.database_values.holds(self.impl, value):
            return "the text holds a character that the database cannot store"
        length: int | None = self.column.type.length if isinstance(self.column.type, String) else None
        return None if length is None or len(value) <= length else f"the text is longer than {length} characters"


class BadValueError(ValueError):
    """A value that a column cannot hold.

    Attributes:
        position: Of the value among those that were converted, from 0.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def fields_of(mapper: Mapper[Any], dialect: Dialect) -> Mapping[str, Field]:
    """Return the attributes of a mapped class that have a column, by name."""
    columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: _field(name, column, dialect) for name, column in columns.items() if isinstance(column, Column)}


def _field(name: str, column: Column[Any], dialect: Dialect) -> Field:
    database_values = dialect_named(dialect.name).values
    impl = column.type.dialect_impl(dialect)
    return Field(
        name,
        column,
        kind_of(column.type),
        None if _has_digits(column.type) else database_values.stored_form(column.type, dialect),
        impl,
        database_values,
    )


def unknown_field(mapper: Mapper[Any], name: str, fields: Mapping[str, Field]) -> str:
    """Return the sentence about a *name* that is no column."""
    if name in mapper.relationships:
        return "it is a relationship; set its foreign key, with ref(...)"
    return str(UnknownFieldError(mapper.class_.__name__, name, fields))


def _has_digits(column_type: object) -> bool:
    """Tell whether a column declares its digits: a number that has more of them is refused, not rounded."""
    return isinstance(column_type, Numeric) and not isinstance(column_type, Float) and column_type.scale is not None


def _decimal_refusal(value: Decimal, column_type: Numeric[Any]) -> str | None:
    """Return why a column with fixed digits cannot hold *value* as it is; it would round it, and differ at each run."""
    if column_type.scale is None or not _has_digits(column_type):
        return None
    if not value.is_finite():
        return "the number is not finite"
    if value != round(value, column_type.scale):
        return f"the number has more than {column_type.scale} digits behind the point"
    if column_type.precision is not None and value.adjusted() >= column_type.precision - column_type.scale:
        return f"the number has more than {column_type.precision - column_type.scale} digits before the point"
    return None
