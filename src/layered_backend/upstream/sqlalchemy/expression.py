"""Expressions: the direction of a sort and the correlation of a subquery, as they say it, and the type of options.

`ORMOption` is for annotations alone; the documentation of `Select.options` does not say where the class is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Integer, Select, UnaryExpression, column, select
from sqlalchemy.orm.interfaces import ORMOption

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["ORMOption", "SortModifiers", "is_correlated", "split_sort_modifiers", "verify"]

_NAME = column("name", Integer)
_SORTED = _NAME.desc()
_SELECT = select(_NAME)
_USES = (
    Undocumented(_SORTED, "modifier"),
    Undocumented(_SORTED, "element"),
    Undocumented(_SELECT, "_auto_correlate"),
    Undocumented(_SELECT, "_correlate"),
    Undocumented(_SELECT, "_correlate_except"),
)


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
    """Check what the order of rows, and so the pages by cursor, rest on, and the check of criteria.

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


def is_correlated(subquery: Select[Any], table: FromClause) -> bool:
    """Tell whether *table* in *subquery* is the one of the statement around it, where that reads *table* too.

    Uses `Select._auto_correlate`, `Select._correlate` and `Select._correlate_except`: the public methods set them, and
    nothing public reads them. If they go, `verify` raises, because `Book.author.has(...)` among the criteria of authors would
    hold for every author.
    """
    select: Any = subquery
    if select._auto_correlate or table in (select._correlate or ()):
        return True
    return select._correlate_except is not None and table not in select._correlate_except


def _is_sort(element: object) -> bool:
    return isinstance(element, UnaryExpression) and element.modifier in _sort_modifiers()


@cache
def _sort_modifiers() -> tuple[Any, ...]:
    sorts = (_NAME.asc(), _NAME.desc(), _NAME.nulls_first(), _NAME.nulls_last())
    return tuple(sort.modifier for sort in sorts)
