"""Expressions: the direction of a sort, as one of them says it, and the type of the options of a statement.

`ORMOption` is for annotations alone; the documentation of `Select.options` does not say where the class is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, UnaryExpression, column
from sqlalchemy.orm.interfaces import ORMOption

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["ORMOption", "SortModifiers", "split_sort_modifiers", "verify"]

_NAME = column("name", Integer)
_SORTED = _NAME.desc()
_USES = (Undocumented(_SORTED, "modifier"), Undocumented(_SORTED, "element"))


@dataclass(frozen=True, slots=True)
class SortModifiers:
    """The direction of a sort, as an expression says it.

    Attributes:
        is_descending: Whether it is `desc()`.
        nulls_first: Whether it is `nulls_first()` (True) or `nulls_last()` (False); None if it says neither.
    """

    is_descending: bool
    nulls_first: bool | None


def verify() -> None:
    """Check what the order of rows, and so the pages by cursor, rest on.

    Raises:
        UnsupportedVersionError: The installed SQLAlchemy lacks it.
    """
    SQLALCHEMY.require(*_USES)


def split_sort_modifiers(expression: ColumnElement[Any]) -> tuple[ColumnElement[Any], SortModifiers]:
    """Return what is sorted by in `element.desc().nulls_last()`, and the direction.

    Uses `UnaryExpression.element` and `UnaryExpression.modifier`: the public methods make such an expression, and none
    takes it apart. If they go, `verify` raises, because pages by cursor would lose rows.
    """
    _, descending, nulls_first, nulls_last = _sort_modifiers()
    modifiers: set[Any] = set()
    element: Any = expression
    while _is_sort(element):
        modifiers.add(element.modifier)
        element = element.element
    is_placed = nulls_first in modifiers or nulls_last in modifiers
    return element, SortModifiers(descending in modifiers, nulls_first in modifiers if is_placed else None)


def _is_sort(element: object) -> bool:
    return isinstance(element, UnaryExpression) and element.modifier in _sort_modifiers()


@cache
def _sort_modifiers() -> tuple[Any, ...]:
    sorts = (_NAME.asc(), _NAME.desc(), _NAME.nulls_first(), _NAME.nulls_last())
    return tuple(sort.modifier for sort in sorts)
