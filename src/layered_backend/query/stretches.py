"""The stretches of an order: parts of it that follow one another, each of which is one range of an index.

What comes behind a place in an order of several terms is no such range once NULL is among them, or their directions differ:
a database that is asked for all of it in one statement reads much that it throws away. So it is asked for one stretch, and
for the next one only where the page is not yet full.

The comparison of rows is the one of Winand, "Paging Through Results" (use-the-index-luke.com).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, and_, or_, tuple_

from layered_backend.dialects import Ordering, SortForm
from layered_backend.query.ordering import Term

__all__ = ["Key", "Stretch", "behind", "from_place", "whole"]


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are sorted by first, or next.

    Attributes:
        term: The expression and its direction.
        form: How it is compared.
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
        """Return what to write behind ORDER BY."""
        return self.term.clauses(ordering)

    @property
    def direction(self) -> ColumnElement[Any]:
        """What to write behind ORDER BY where all rows have NULL, or none has."""
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
class Stretch:
    """Rows that follow one another in an order.

    Attributes:
        where: Which ones.
        order_by: Their order; what is the same in all of them is left out where an index serves without it.
    """

    where: Sequence[ColumnElement[bool]]
    order_by: Sequence[ColumnElement[Any]]

    def of(self, select: Select[Any], limit: int | BindParameter[int]) -> Select[Any]:
        """Return the statement that reads the first rows of the stretch, *limit* of them at most."""
        return select.where(*self.where).order_by(*self.order_by).limit(limit)


def whole(keys: Sequence[Key], ordering: Ordering) -> Iterator[Stretch]:
    """Yield the stretches of all rows, in the order of *keys*."""
    return _Stretches(keys, (), ordering).whole()


def behind(keys: Sequence[Key], values: Sequence[Any], ordering: Ordering) -> Iterator[Stretch]:
    """Yield the stretches of the rows that come behind a place in the order of *keys*.

    Args:
        keys: What is sorted by; all rows differ in them.
        values: Those of the place, one for each key: None for NULL, a `GivenLater` for one that the statement gets.
        ordering: The database's.
    """
    return _Stretches(keys, values, ordering).behind()


def from_place(keys: Sequence[Key], values: Sequence[Any], ordering: Ordering) -> Iterator[Stretch]:
    """Yield the row at a place, and the stretches `behind` it."""
    row = Stretch([key.equals(value) for key, value in zip(keys, values, strict=True)], ())
    return chain([row], behind(keys, values, ordering))


@dataclass(frozen=True, slots=True)
class _Stretches:
    keys: Sequence[Key]
    values: Sequence[Any]
    ordering: Ordering

    def whole(self) -> Iterator[Stretch]:
        key, term = self.keys[0], self.keys[0].term
        is_placed = self.ordering.places_nulls(is_descending=term.is_descending, nulls_first=term.nulls_first)
        if not term.is_nullable or is_placed:
            yield Stretch((), self._order(0))
            return
        valued = Stretch([key.has_value], [key.direction, *self._order(1)])
        null = Stretch([key.is_null], [*self._of_null(0), *self._order(1)])
        yield from (null, valued) if term.nulls_first else (valued, null)

    def behind(self) -> Iterator[Stretch]:
        for run in reversed(list(self._runs())):
            key, before = self.keys[run.start], self._fixed(run.start)
            if self.values[run.start] is not None:
                criteria = [*before.where, self._follows(run)]
                yield Stretch(criteria, [*before.order_by, key.direction, *self._order(run.start + 1)])
                if key.term.is_nullable and not key.term.nulls_first:
                    after = [*self._of_null(run.start), *self._order(run.start + 1)]
                    yield Stretch([*before.where, key.is_null], [*before.order_by, *after])
            elif key.term.nulls_first:
                criteria = [*before.where, key.has_value]
                yield Stretch(criteria, [*before.order_by, key.direction, *self._order(run.start + 1)])

    def _runs(self) -> Iterator[range]:
        """Yield the places of keys that are compared as one: in the same direction, and NULL in the first alone."""
        start, count = 0, len(self.keys)
        for place in range(1, count):
            if not self._goes_on(place):
                yield from [range(start, place)] if self.ordering.seeks_past_ties else _singly(start, place)
                start = place
        yield range(start, count)  # all keys have a part in this one, and no other row is equal to the place

    def _goes_on(self, place: int) -> bool:
        one, other = self.keys[place - 1], self.keys[place]
        are_combinable = one.form.is_combinable and other.form.is_combinable
        is_uniform = one.term.is_descending == other.term.is_descending and not other.term.is_nullable
        return are_combinable and is_uniform and self.values[place - 1] is not None

    def _fixed(self, number: int) -> Stretch:
        """Return the rows that are like the place in the first keys, so many of them."""
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
        return Stretch(criteria, order)

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


def _singly(start: int, stop: int) -> Iterator[range]:
    return (range(place, place + 1) for place in range(start, stop))


def _comparison(term: Term) -> Callable[[Any, Any], ColumnElement[bool]]:
    return operator.lt if term.is_descending else operator.gt
