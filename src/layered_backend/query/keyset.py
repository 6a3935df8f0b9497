"""Keyset pages: rows behind a place, or before it, found by value and not by counting.

Building the statement of such a page costs as much as reading it. So the place and the number of rows are parameters of the
statement, and an order by columns alone is kept with the statements of the mapped class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Dialect, Select, bindparam

from layered_backend.dialects import GivenLater, dialect_named
from layered_backend.query.cursor import Cursor, decoded, encoded, fingerprint
from layered_backend.query.keyset_ranges import Key, list_all, list_behind, list_from
from layered_backend.query.pagination import CursorPage, CursorParams
from layered_backend.query.sort_terms import OrderBy, Term, total_order
from layered_backend.query.statements import Statements

__all__ = ["Keyset", "KeysetOrder", "keys_of", "order_of", "place_of", "place_parameters"]

T = TypeVar("T")

_LIMIT = "layered_limit"
_KEPT = 100  # orders of one mapped class: a client may name its keys in any succession


@dataclass(frozen=True, eq=False)
class KeysetOrder:
    """An order without ties. Lives as long as the process if it is kept, else as long as one call.

    Attributes:
        statements: The statements of the mapped class.
        terms: The terms that its rows are sorted by.
        dialect: SQLAlchemy's dialect of the database.
    """

    statements: Statements
    terms: Sequence[Term]
    dialect: Dialect
    _kept: dict[object, Sequence[Select[Any]]] = field(default_factory=dict[object, Sequence[Select[Any]]], init=False)

    @cached_property
    def keys(self) -> Sequence[Key]:
        """The terms, each in the form in which the database compares it."""
        return keys_of(self.terms, self.dialect)

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of cursors in this order if there is no filter."""
        return fingerprint(self.terms, (), str(self.statements.mapper.local_table), self.dialect)

    def reading(self, cursor: Cursor | None) -> Sequence[Select[Any]]:
        """Return the statements that read on from *cursor*, or from the first row, one for each range.

        They need the `place_parameters`. Each row has the values that it is sorted by at its end.
        """
        kind = cursor and (cursor.is_backward, cursor.is_inclusive, tuple(value is None for value in cursor.values))
        if kind not in self._kept:
            ordering = dialect_named(self.dialect.name).ordering
            if cursor is None:
                ranges = list_all(self.keys, ordering)
            else:
                keys = [key.reversed() for key in self.keys] if cursor.is_backward else self.keys
                values = [None if value is None else GivenLater(_place(n)) for n, value in enumerate(cursor.values)]
                ranges = (list_from if cursor.is_inclusive else list_behind)(keys, values, ordering)
            limit = bindparam(_LIMIT, type_=BigInteger())
            self._kept[kind] = [each.of(self._select, limit) for each in ranges]
        return self._kept[kind]

    @cached_property
    def _select(self) -> Select[Any]:
        read = (key.form.read.label(f"layered_key_{number}") for number, key in enumerate(self.keys))
        return self.statements.rows.add_columns(*read)


def order_of(statements: Statements, order_by: OrderBy | None, dialect: Dialect) -> KeysetOrder:
    """Return the order of *order_by*, followed by the primary key if rows can be equal in it.

    Raises:
        TypeError: *order_by* is text, or has a column of another table, or the database sorts by one of its expressions as
            it cannot be compared.
    """
    terms = None if order_by is None else total_order(statements.mapper, order_by)
    if terms is not None and not all(isinstance(term.expression, Column) for term in terms):
        return KeysetOrder(statements, terms, dialect)
    name = (dialect, *((term.expression, term.is_descending, term.nulls_first) for term in terms or ()))
    kept: dict[object, KeysetOrder] = statements.orders
    if name not in kept:
        if len(kept) >= _KEPT:
            kept.clear()
        kept[name] = KeysetOrder(statements, total_order(statements.mapper, None) if terms is None else terms, dialect)
    return kept[name]


def keys_of(terms: Sequence[Term], dialect: Dialect) -> list[Key]:
    """Return *terms*, each in the form in which *dialect*'s database compares it.

    Raises:
        TypeError: The database sorts by one of them as it cannot be compared.
    """
    sort_form = dialect_named(dialect.name).ordering.sort_form
    return [Key(term, sort_form(term.expression, dialect)) for term in terms]


def place_parameters(cursor: Cursor | None, limit: int) -> Mapping[str, Any]:
    """Return the parameters of a statement that reads on from *cursor*, *limit* rows at most."""
    values = cursor.values if cursor else ()
    return {_LIMIT: limit} | {_place(number): value for number, value in enumerate(values) if value is not None}


def _place(number: int) -> str:
    return f"layered_place_{number}"


@dataclass(frozen=True)
class Keyset:
    """A page by cursor: its place in the order, and the cursors of the pages next to it.

    Attributes:
        keys: The keys of the sort; no two rows are equal in all of them.
        size: How many rows a page has at most.
        fingerprint: The fingerprint that its cursors carry.
        cursor: The place of the page; None for the first page.
    """

    keys: Sequence[Key]
    size: int
    fingerprint: str
    cursor: Cursor | None

    @classmethod
    def of(cls, params: CursorParams, keys: Sequence[Key], fingerprint: str) -> Keyset:
        """Return the page that *params* ask for.

        Raises:
            InvalidCursorError: The cursor is broken, or belongs to another query.
        """
        types = [key.form.read.type for key in keys]
        cursor = None if params.cursor is None else decoded(params.cursor, fingerprint, types)
        return cls(keys, params.size, fingerprint, cursor)

    @property
    def is_backward(self) -> bool:
        """Whether the rows are read in reverse."""
        return self.cursor is not None and self.cursor.is_backward

    def page(self, items: Sequence[T], rows: Sequence[Sequence[Any]]) -> CursorPage[T]:
        """Return the page of *items*, made from *rows*, which have the values that they are sorted by at their end."""
        has_more = len(rows) > self.size
        items, rows = items[: self.size], rows[: self.size]
        if self.is_backward:
            items, rows = items[::-1], rows[::-1]
        has_next, has_previous = (True, has_more) if self.is_backward else (has_more, self.cursor is not None)
        return CursorPage(
            items=items,
            size=self.size,
            next=self._encoded(rows[-1:], is_backward=False) if has_next else None,
            previous=self._encoded(rows[:1], is_backward=True) if has_previous else None,
        )

    def _encoded(self, edge: Sequence[Sequence[Any]], *, is_backward: bool) -> str:
        """Return the cursor next to the row at the *edge* of the page; the edge of an empty page is its own place."""
        if edge:
            (row,) = edge
            return encoded(Cursor(place_of(row, self.keys), is_backward), self.fingerprint)
        assert self.cursor is not None, "the first page has no page before it, and an empty one none behind it"
        is_inclusive = not self.cursor.is_inclusive  # the row at the place was on neither side
        return encoded(Cursor(self.cursor.values, is_backward, is_inclusive), self.fingerprint)


def place_of(row: Sequence[Any], keys: Sequence[Key]) -> tuple[Any, ...]:
    """Return the values that *row* is sorted by, which it has at its end."""
    return tuple(row[len(row) - len(keys) :])
