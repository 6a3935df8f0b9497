"""Sort terms: an order of rows that is the same on every database, for NULLs and for equal rows too.

NULL counts as greater than every value, as in PostgreSQL: last in ascending order, first in descending order, unless
the expression says `nulls_first()` or `nulls_last()`. Rows that are equal otherwise are sorted by primary key, in the
direction of the last expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from sqlalchemy import ClauseElement, Column, ColumnElement, ColumnExpressionArgument
from sqlalchemy.orm import Mapper

from layered_backend.dialects import Ordering
from layered_backend.errors import InvalidDataError
from layered_backend.query.joined_tables import checked_sorts
from layered_backend.query.unique_keys import tells_rows_apart
from layered_backend.upstream.sqlalchemy.expression import split_sort_modifiers

__all__ = [
    "LARGEST_ROW_NUMBER",
    "OrderBy",
    "Term",
    "listed",
    "opposite",
    "order_by_clauses",
    "row_number",
    "total_order",
]

OrderBy: TypeAlias = ColumnExpressionArgument[Any] | Sequence[ColumnExpressionArgument[Any]]
"""One expression to sort by, such as `Item.price.desc()`, or several."""

LARGEST_ROW_NUMBER = 2**63 - 1  # the largest limit and offset that every database accepts


@dataclass(frozen=True, slots=True)
class Term:
    """One expression that rows are sorted by.

    Attributes:
        expression: The expression that is compared.
        is_descending: Whether the greatest value comes first.
        nulls_first: Whether NULL comes before every value.
        is_nullable: Whether the expression can be NULL at all.
    """

    expression: ColumnElement[Any]
    is_descending: bool
    nulls_first: bool
    is_nullable: bool

    def reversed(self) -> Term:
        """Return the term that sorts the other way round."""
        return replace(self, is_descending=not self.is_descending, nulls_first=not self.nulls_first)

    def clauses(self, ordering: Ordering) -> tuple[ColumnElement[Any], ...]:
        """Return the clauses of ORDER BY."""
        if not self.is_nullable:
            return (self.expression.desc() if self.is_descending else self.expression.asc(),)
        return ordering.sorted_with_nulls(
            self.expression, is_descending=self.is_descending, nulls_first=self.nulls_first
        )


def total_order(mapper: Mapper[Any], order_by: OrderBy | None) -> list[Term]:
    """Return the terms of *order_by*, followed by the primary key, so that no two rows are equal.

    The primary key goes in the direction of the last term, so that one index serves both. It is left out where a key without
    NULL is among the terms.

    Raises:
        TypeError: *order_by* is no expression, or reads a table that the mapper's statements do not join.
    """
    terms = [_term(mapper, expression) for expression in listed(mapper, order_by)]
    named = [term.expression for term in terms if isinstance(term.expression, Column) and not term.is_nullable]
    if tells_rows_apart(mapper, named):
        return terms
    is_descending = bool(terms) and terms[-1].is_descending
    by_key = [column for column in mapper.primary_key if not any(_is_same(column, term.expression) for term in terms)]
    return terms + [_term(mapper, column.desc() if is_descending else column) for column in by_key]


def order_by_clauses(terms: Sequence[Term], ordering: Ordering) -> list[ColumnElement[Any]]:
    """Return the clauses of ORDER BY for all *terms*."""
    return [clause for term in terms for clause in term.clauses(ordering)]


def row_number(name: str, value: int) -> int:
    """Return *value*, a limit or an offset, or the largest that every database takes.

    Raises:
        InvalidDataError: It is negative.
    """
    if value < 0:
        raise InvalidDataError(f"{name} is at least 0, not {value}")
    return min(value, LARGEST_ROW_NUMBER)


def opposite(expression: ColumnExpressionArgument[Any]) -> ColumnElement[Any]:
    """Return *expression* in the other direction; `nulls_first()` and `nulls_last()` stay."""
    element, modifiers = split_sort_modifiers(_clause(expression))
    directed: ColumnElement[Any] = element.asc() if modifiers.is_descending else element.desc()
    if modifiers.nulls_first is None:
        return directed
    return directed.nulls_first() if modifiers.nulls_first else directed.nulls_last()


def listed(mapper: Mapper[Any], order_by: OrderBy | None) -> Sequence[ColumnExpressionArgument[Any]]:
    """Return *order_by*, one expression or several, as a sequence.

    Raises:
        TypeError: One is no expression, such as text, or reads a table that the mapper's statements do not join.
    """
    if order_by is None:
        return ()
    is_several = isinstance(order_by, Sequence) and not isinstance(order_by, str)
    return checked_sorts(mapper, cast("Sequence[Any]", order_by if is_several else (order_by,)))


def _term(mapper: Mapper[Any], expression: ColumnExpressionArgument[Any]) -> Term:
    element, modifiers = split_sort_modifiers(_clause(expression))
    is_descending, nulls_first = modifiers.is_descending, modifiers.nulls_first
    return Term(
        element, is_descending, is_descending if nulls_first is None else nulls_first, _is_nullable(mapper, element)
    )


def _clause(expression: Any) -> Any:
    """Return the SQL expression that an attribute of a mapped class stands for; any other is one itself."""
    return expression if isinstance(expression, ClauseElement) else expression.__clause_element__()


def _is_nullable(mapper: Mapper[Any], element: ColumnElement[Any]) -> bool:
    """Tell whether *element* can be NULL: only a column of the entity's own tables is known not to be."""
    return not (isinstance(element, Column) and element.table in mapper.tables and not element.nullable)


def _is_same(column: ColumnElement[Any], other: ColumnElement[Any]) -> bool:
    if not (isinstance(column, Column) and isinstance(other, Column)):
        return False
    return column.key == other.key and hash(column.table) == hash(other.table)
