"""Keyset pages: rows behind a place, or before it, found by value and not by counting.

The predicate is the one of Winand, "Paging Through Results" (use-the-index-luke.com), completed for NULLs and for terms
that are sorted in different directions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_, tuple_

from layered_backend.dialects import DatabaseDialect
from layered_backend.query.cursor import Cursor, decoded, encoded
from layered_backend.query.ordering import Term, order_by_clauses
from layered_backend.query.pagination import CursorPage, CursorParams

__all__ = ["Keyset", "behind"]

T = TypeVar("T")


@dataclass(frozen=True)
class Keyset:
    """A page by cursor: the statement that reads it, and what its rows make.

    Attributes:
        terms: What the rows are sorted by; no two of them are equal in all terms.
        size: How many rows a page has at most.
        fingerprint: What the cursors are bound to.
        cursor: The place that the page is at; None for the first page.
    """

    terms: Sequence[Term]
    size: int
    fingerprint: str
    cursor: Cursor | None

    @classmethod
    def of(cls, params: CursorParams, terms: Sequence[Term], fingerprint: str) -> Keyset:
        """Return the page that *params* ask for.

        Raises:
            InvalidCursorError: The cursor is broken, or of another query.
        """
        cursor = None if params.cursor is None else decoded(params.cursor, fingerprint, terms)
        return cls(terms, params.size, fingerprint, cursor)

    @property
    def is_backward(self) -> bool:
        """Whether the rows are read in reverse."""
        return self.cursor is not None and self.cursor.is_backward

    def statement(self, select: Select[Any], dialect: DatabaseDialect) -> Select[Any]:
        """Return *select*, narrowed to this page and one row more; what it is sorted by comes last in each row."""
        terms = [term.reversed() for term in self.terms] if self.is_backward else self.terms
        if self.cursor is not None:
            place = behind(terms, self.cursor.values, by_row=dialect.seeks_by_row)
            select = select.where(or_(place, _at(terms, self.cursor.values)) if self.cursor.is_inclusive else place)
        keys = [term.expression.label(f"layered_key_{number}") for number, term in enumerate(self.terms)]
        return select.add_columns(*keys).order_by(*order_by_clauses(terms, dialect)).limit(self.size + 1)

    def page(self, rows: Sequence[tuple[T, Sequence[Any]]]) -> CursorPage[T]:
        """Return the page that *rows* make, each an item and what it is sorted by."""
        has_more = len(rows) > self.size
        rows = rows[: self.size]
        if self.is_backward:
            rows = rows[::-1]
        has_next, has_previous = (True, has_more) if self.is_backward else (has_more, self.cursor is not None)
        return CursorPage(
            items=[item for item, _ in rows],
            size=self.size,
            next=self._encoded(rows[-1:], is_backward=False) if has_next else None,
            previous=self._encoded(rows[:1], is_backward=True) if has_previous else None,
        )

    def _encoded(self, edge: Sequence[tuple[Any, Sequence[Any]]], *, is_backward: bool) -> str:
        """Return the cursor beside the row at the *edge* of the page; an empty page has its own place for an edge."""
        if edge:
            ((_, values),) = edge
            return encoded(Cursor(tuple(values), is_backward), self.fingerprint)
        assert self.cursor is not None, "the first page has no page before it, and an empty one none behind it"
        is_inclusive = not self.cursor.is_inclusive  # the row at the place was on neither side
        return encoded(Cursor(self.cursor.values, is_backward, is_inclusive), self.fingerprint)


def behind(terms: Sequence[Term], values: Sequence[Any], *, by_row: bool) -> ColumnElement[bool]:
    """Return the criterion of the rows that come behind *values* in the order of *terms*.

    Args:
        terms: What is sorted by; all rows differ in them.
        values: One for each term, None for NULL.
        by_row: Whether to compare whole rows, `(a, b) > (1, 2)`, where that says the same.
    """
    if by_row and _is_uniform(terms):
        return _compared(terms[0])(_row(terms), _literals(terms, values))
    pairs = list(zip(terms, values, strict=True))
    alternatives = [
        and_(*(_equals(term, value) for term, value in pairs[:number]), _follows(*pairs[number]))
        for number in range(len(pairs))
    ]
    term, value = pairs[0]
    # Says nothing new, but gives the database one range of an index to begin with.
    return and_(or_(_follows(term, value), _equals(term, value)), or_(*alternatives))


def _at(terms: Sequence[Term], values: Sequence[Any]) -> ColumnElement[bool]:
    return and_(*(_equals(term, value) for term, value in zip(terms, values, strict=True)))


def _is_uniform(terms: Sequence[Term]) -> bool:
    return not any(term.is_nullable or term.is_descending != terms[0].is_descending for term in terms)


def _compared(term: Term) -> Callable[[Any, Any], ColumnElement[bool]]:
    return operator.lt if term.is_descending else operator.gt


def _row(terms: Sequence[Term]) -> ColumnElement[Any]:
    return terms[0].expression if len(terms) == 1 else tuple_(*(term.expression for term in terms))


def _literals(terms: Sequence[Term], values: Sequence[Any]) -> ColumnElement[Any]:
    literals = [_literal(term, value) for term, value in zip(terms, values, strict=True)]
    return literals[0] if len(literals) == 1 else tuple_(*literals)


def _literal(term: Term, value: Any) -> ColumnElement[Any]:
    return literal(value, term.expression.type)


def _equals(term: Term, value: Any) -> ColumnElement[bool]:
    return term.expression.is_(None) if value is None else term.expression == _literal(term, value)


def _follows(term: Term, value: Any) -> ColumnElement[bool]:
    """Return the criterion of what comes behind *value* in the order of one term."""
    if value is None:
        return term.expression.is_not(None) if term.nulls_first else false()
    greater = _compared(term)(term.expression, _literal(term, value))
    return or_(greater, term.expression.is_(None)) if term.is_nullable and not term.nulls_first else greater
