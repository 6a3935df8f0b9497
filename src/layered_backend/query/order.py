"""An order of the rows of a mapped class, and the statements that read them in it from a place on.

Building such a statement costs as much as reading a page of rows. So the place and the number of rows are parameters of
it, and what is sorted by columns alone is kept with the statements of the mapped class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Select, bindparam

from layered_backend.dialects import GivenLater, dialect_named
from layered_backend.query.cursor import Cursor, fingerprint
from layered_backend.query.keyset_ranges import Key, KeysetRange, list_all, list_behind, list_from
from layered_backend.query.ordering import OrderBy, Term, total_order
from layered_backend.query.statements import Statements

__all__ = ["Order", "keys_of", "order_of", "place_parameters"]

_LIMIT = "layered_limit"
_KEPT = 100  # orders of one mapped class: a client may name its keys in any succession


@dataclass(frozen=True, eq=False)
class Order:
    """An order without ties. Lives as long as the process where it is kept, else as long as one call.

    Attributes:
        statements: Of the mapped class.
        terms: What its rows are sorted by.
        dialect: SQLAlchemy's, of the database.
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
        """What cursors in this order are bound to, where there is no filter."""
        return fingerprint(self.terms, (), str(self.statements.mapper.local_table), self.dialect)

    def reading(self, cursor: Cursor | None) -> Sequence[Select[Any]]:
        """Return the statements that read on from *cursor*, or from the first row, each behind the one before it.

        They take the `place_parameters`, and return what the rows are sorted by at the end of each.
        """
        kind = cursor and (cursor.is_backward, cursor.is_inclusive, tuple(value is None for value in cursor.values))
        if kind not in self._kept:
            limit = bindparam(_LIMIT, type_=BigInteger)
            self._kept[kind] = [each.of(self._select, limit) for each in self._ranges(cursor)]
        return self._kept[kind]

    @cached_property
    def _select(self) -> Select[Any]:
        read = (key.form.read.label(f"layered_key_{number}") for number, key in enumerate(self.keys))
        return self.statements.rows.add_columns(*read)

    def _ranges(self, cursor: Cursor | None) -> Sequence[KeysetRange]:
        ours = dialect_named(self.dialect.name)
        if cursor is None:
            return list_all(self.keys, ours)
        keys = [key.reversed() for key in self.keys] if cursor.is_backward else self.keys
        values = [None if value is None else GivenLater(_place(n)) for n, value in enumerate(cursor.values)]
        return (list_from if cursor.is_inclusive else list_behind)(keys, values, ours)


def order_of(statements: Statements, order_by: OrderBy | None, dialect: Dialect) -> Order:
    """Return the order of *order_by*, with the primary key behind it where it has ties.

    Raises:
        TypeError: *order_by* is text, or has a column of another table, or the database sorts by one of its expressions as
            it cannot be compared.
    """
    terms = None if order_by is None else total_order(statements.mapper, order_by)
    if terms is not None and not all(isinstance(term.expression, Column) for term in terms):
        return Order(statements, terms, dialect)
    name = (dialect, *((term.expression, term.is_descending, term.nulls_first) for term in terms or ()))
    kept: dict[object, Order] = statements.orders
    if name not in kept:
        if len(kept) >= _KEPT:
            kept.clear()
        kept[name] = Order(statements, total_order(statements.mapper, None) if terms is None else terms, dialect)
    return kept[name]


def keys_of(terms: Sequence[Term], dialect: Dialect) -> list[Key]:
    """Return *terms*, each in the form in which *dialect*'s database compares it.

    Raises:
        TypeError: The database sorts by one of them as it cannot be compared.
    """
    ours = dialect_named(dialect.name)
    return [Key(term, ours.sort_form(term.expression, dialect)) for term in terms]


def place_parameters(cursor: Cursor | None, limit: int) -> Mapping[str, Any]:
    """Return the parameters of a statement that reads on from *cursor*, *limit* rows at most."""
    values = cursor.values if cursor else ()
    return {_LIMIT: limit} | {_place(number): value for number, value in enumerate(values) if value is not None}


def _place(number: int) -> str:
    return f"layered_place_{number}"
