"""In what form rows are compared with a place among them: that in which the database stores what they are sorted by.

What a column gives back may be less than it stores (a double as a Decimal of ten digits), or another thing (the name of
an enum that is sorted by number). A place that is made of it would be another place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, Label, bindparam, literal, type_coerce
from sqlalchemy.sql.expression import Grouping
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

__all__ = ["AsDriven", "GivenLater", "SortForm", "as_stored", "bare", "comparable", "parameter", "stored_type"]


class AsDriven(UserDefinedType[Any]):
    """The type of a value that goes to the driver, and comes from it, as it is; it can be compared, whatever it is."""

    cache_ok: bool | None = True


_DRIVEN = AsDriven()


@dataclass(frozen=True, slots=True)
class GivenLater:
    """Stands for a value that a statement is executed with.

    Attributes:
        name: Of its parameter.
    """

    name: str


@dataclass(frozen=True, slots=True)
class SortForm:
    """How rows are compared with a place in the order of an expression.

    Attributes:
        compared: The expression, as rows are sorted by it and compared with the place.
        read: The expression, as the place of a row is read.
        place: From what was read, or a `GivenLater` for it, to what `compared` is compared with.
        is_combinable: Whether an index serves a comparison of rows that has the expression and another one in it.
    """

    compared: ColumnElement[Any]
    read: ColumnElement[Any]
    place: Callable[[Any], ColumnElement[Any]]
    is_combinable: bool = True


def as_stored(
    expression: ColumnElement[Any], column_type: TypeEngine[Any], read: ColumnElement[Any] | None = None
) -> SortForm:
    """Return the form of values of *column_type*, which give back all that is stored.

    Args:
        expression: What is sorted by.
        column_type: Of the values.
        read: What is read in place of the expression.
    """
    if read is None:
        read = expression if expression.type is column_type else type_coerce(expression, column_type)
    return SortForm(comparable(expression), read, lambda value: parameter(value, column_type))


def parameter(value: object, column_type: TypeEngine[Any]) -> BindParameter[Any]:
    """Return *value* as a parameter of *column_type*."""
    return bindparam(value.name, type_=column_type) if isinstance(value, GivenLater) else literal(value, column_type)


def comparable(expression: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return *expression*, to be compared with what has another type, or one that SQLAlchemy would not compare."""
    return type_coerce(expression, _DRIVEN)


def stored_type(column_type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the type of what *dialect*'s database stores, whatever Python makes of it."""
    own_type = column_type.dialect_impl(dialect)
    while isinstance(own_type, TypeDecorator):
        own_type = own_type.impl_instance
    return own_type


def bare(expression: Any) -> ColumnElement[Any]:
    """Return *expression* without the name and the brackets that it may have."""
    while _is_wrapped(expression):
        expression = expression.element
    element: ColumnElement[Any] = expression
    return element


def _is_wrapped(expression: object) -> bool:
    return isinstance(expression, (Label, Grouping))
