"""The ranges of an order: parts of it that follow one another, each of which is one range of an index.

The rows behind a place in an order of several terms are no single range if NULL is among the values, or if the directions
of the terms differ. A database that gets all of them in one statement reads much that it throws away. So each range has a
statement of its own, and the next range is read only if the page is not yet full.

The comparison of rows is the one of Winand, "Paging Through Results" (use-the-index-luke.com).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, and_, or_, tuple_

from layered_backend.dialects import Ordering, SortForm
from layered_backend.query.sort_terms import Term

__all__ = ["Key", "KeysetRange", "list_all", "list_behind", "list_from"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a sort.

    Attributes:
        term: The expression and its direction.
        form: The form in which the database compares it.
    """

    term: Term
    form: SortForm

    def reversed(self) -> Key:
        """Return the key that sorts the other way round."""
        return Key(self.term.reversed(), self.form)

    def equals(self, value: Any) -> ColumnElement[bool]:
        """Return the criterion of the rows that have *value*."""
        return self.is_null if value is None else self.form.compared == self.form.place(value)

    def sorted(self, ordering: Ordering) -> Sequence[ColumnElement[Any]]:
        """Return the clauses of ORDER BY."""
        return self.term.clauses(ordering)

    @property
    def direction(self) -> ColumnElement[Any]:
        """The clause of ORDER BY for rows that all have NULL, or all have a value."""
        return self.form.compared.desc() if self.term.is_descending else self.form.compared.asc()

    @property
    def is_null(self) -> ColumnElement[bool]:
        """The criterion of the rows without a value."""
        return self.form.compared.is_(None)

    @property
    def has_value(self) -> ColumnElement[bool]:
        """The criterion of the rows with a value."""
        return self.form.compared.is_not(None)


@dataclass(frozen=True, slots=True)
class KeysetRange:
    """Rows that follow one another in an order.

    Attributes:
        where: The criteria that they meet.
        order_by: Their order, without keys that are the same in all of them if an index serves without these.
    """

    where: Sequence[ColumnElement[bool]]
    order_by: Sequence[ColumnElement[Any]]

    def of(self, select: Select[Any], limit: int | BindParameter[int]) -> Select[Any]:
        """Return the statement that reads the first rows of the range, *limit* of them at most."""
        return select.where(*self.where).order_by(*self.order_by).limit(limit)


def list_all(keys: Sequence[Key], ordering: Ordering) -> Sequence[KeysetRange]:
    """Return the ranges of all rows, in the order of *keys*."""
    return list(_Ranges(keys, (), ordering).all())


def list_behind(keys: Sequence[Key], values: Sequence[Any], ordering: Ordering) -> Sequence[KeysetRange]:
    """Return the ranges of the rows that come behind a place in the order of *keys*.

    Args:
        keys: The keys of the sort; no two rows are equal in all of them.
        values: The values at the place, one for each key: None for NULL, a `GivenLater` for one that the statement gets.
        ordering: How the database sorts.
    """
    return list(_Ranges(keys, values, ordering).behind())


def list_from(keys: Sequence[Key], values: Sequence[Any], ordering: Ordering) -> Sequence[KeysetRange]:
    """Return the row at a place as a range, and the ranges behind it."""
    row = KeysetRange([key.equals(value) for key, value in zip(keys, values, strict=True)], ())
    return [row, *list_behind(keys, values, ordering)]


@dataclass(frozen=True, slots=True)
class _Ranges:
    """The ranges of one order on one database, from a place on where there are values."""

    keys: Sequence[Key]
    values: Sequence[Any]
    ordering: Ordering

    def all(self) -> Iterator[KeysetRange]:
        key, term = self.keys[0], self.keys[0].term
        is_placed = self.ordering.places_nulls(is_descending=term.is_descending, nulls_first=term.nulls_first)
        if not term.is_nullable or is_placed:
            yield KeysetRange((), self._order(0))
            return
        valued = KeysetRange([key.has_value], [key.direction, *self._order(1)])
        null = KeysetRange([key.is_null], [*self._of_null(0), *self._order(1)])
        yield from (null, valued) if term.nulls_first else (valued, null)

    def behind(self) -> Iterator[KeysetRange]:
        for run in reversed(list(self._runs())):
            key, before = self.keys[run.start], self._fixed(run.start)
            if self.values[run.start] is not None:
                criteria = [*before.where, self._follows(run)]
                yield KeysetRange(criteria, [*before.order_by, key.direction, *self._order(run.start + 1)])
                if key.term.is_nullable and not key.term.nulls_first:
                    after = [*self._of_null(run.start), *self._order(run.start + 1)]
                    yield KeysetRange([*before.where, key.is_null], [*before.order_by, *after])
            elif key.term.nulls_first:
                criteria = [*before.where, key.has_value]
                yield KeysetRange(criteria, [*before.order_by, key.direction, *self._order(run.start + 1)])

    def _runs(self) -> Iterator[range]:
        """Yield the positions of keys that are compared as one: in the same direction, and only the first may be NULL."""
        start, count = 0, len(self.keys)
        for place in range(1, count):
            if not self._goes_on(place):
                is_whole = self.ordering.seeks_past_ties
                yield from (
                    [range(start, place)] if is_whole else (range(each, each + 1) for each in range(start, place))
                )
                start = place
        yield range(start, count)  # up to the last key, in which no other row equals the place

    def _goes_on(self, place: int) -> bool:
        one, other = self.keys[place - 1], self.keys[place]
        are_combinable = one.form.is_combinable and other.form.is_combinable
        is_uniform = one.term.is_descending == other.term.is_descending and not other.term.is_nullable
        return are_combinable and is_uniform and self.values[place - 1] is not None

    def _fixed(self, number: int) -> KeysetRange:
        """Return the rows that equal the place in the first *number* keys."""
        criteria: list[ColumnElement[bool]] = []
        order: list[ColumnElement[Any]] = []
        for place in range(number):
            key, value = self.keys[place], self.values[place]
            if value is None:
                order += self._of_null(place)
            if value is not None and self.ordering.fixes_by_range and key.form.is_combinable:
                at = key.form.place(value)
                criteria += [key.form.compared >= at, key.form.compared <= at]
                order.append(key.direction)
            else:
                criteria.append(key.equals(value))
        return KeysetRange(criteria, order)

    def _of_null(self, place: int) -> Sequence[ColumnElement[Any]]:
        return [self.keys[place].direction] if self.ordering.sorts_by_fixed_nulls else ()

    def _order(self, start: int) -> Sequence[ColumnElement[Any]]:
        return [clause for key in self.keys[start:] for clause in key.sorted(self.ordering)]

    def _follows(self, run: range) -> ColumnElement[bool]:
        keys = [self.keys[place] for place in run]
        places = [key.form.place(self.values[place]) for key, place in zip(keys, run, strict=True)]
        compare = _comparison(keys[0].term)
        if len(run) == 1:
            return compare(keys[0].form.compared, places[0])
        if self.ordering.seeks_by_row:
            return compare(tuple_(*(key.form.compared for key in keys)), tuple_(*places))
        return or_(
            *(
                and_(
                    *(key.form.compared == place for key, place in zip(keys[:end], places[:end], strict=True)),
                    compare(keys[end].form.compared, places[end]),
                )
                for end in range(len(run))
            )
        )


def _comparison(term: Term) -> Callable[[Any, Any], ColumnElement[bool]]:
    return operator.lt if term.is_descending else operator.gt
