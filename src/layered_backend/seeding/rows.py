"""Rows of a seeder: a batch as it is shipped, checked and converted, and those that are still to be written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from operator import itemgetter
from typing import Any, cast

from pydantic import BaseModel

from layered_backend.batch import MISSING
from layered_backend.errors import InvalidDataError, SeedDataError
from layered_backend.field_values import Data, new_values
from layered_backend.seeding.field import BadValueError, Field, unknown_field
from layered_backend.seeding.seeder import Definition, Ref

__all__ = ["PendingRow", "ShippedRows", "check_rows", "sort_in_levels"]

Values = tuple[Any, ...]


@dataclass(frozen=True)
class ShippedRows:
    """Consecutive rows of one seeder, by column, so that many are compared at once.

    Attributes:
        names: The attributes: those of the key, then those that are compared, then those that are set only once.
        compared: How many of the names, from the first, count in the comparison.
        columns: The values of each name, in the order of the rows; `MISSING` where a row leaves it out.
        first: The number of the first row, from 1.
    """

    names: tuple[str, ...]
    compared: int
    columns: Sequence[Sequence[Any]]
    first: int

    @cached_property
    def rows(self) -> Sequence[Values]:
        """The values of each row, in the order of the names."""
        return list(zip(*self.columns, strict=True))

    def leading(self, width: int) -> list[Values]:
        """Return the first *width* values of each row."""
        return list(zip(*self.columns[:width], strict=True))

    def numbered(self) -> Iterator[tuple[int, Values]]:
        """Return each row with its number."""
        return enumerate(self.rows, start=self.first)


def check_rows(
    definition: Definition, fields: Mapping[str, Field], data: Sequence[Data], first: int, insert_only: frozenset[str]
) -> ShippedRows:
    """Return the rows *data*, checked and converted.

    Args:
        definition: The definition of the seeder.
        fields: The fields of its mapped class.
        data: The rows, as the seeder gives them; at least one.
        first: The number of the first of them, from 1.
        insert_only: The attributes that are set only once.

    Raises:
        SeedDataError: A row is not made of names and values, lacks a part of the key, names a column that is not there,
            or has a value that its column cannot hold.
    """
    mappings = _mappings(definition, data, first)
    names = _names(definition, fields, mappings, first, insert_only)
    compared = sum(name not in insert_only for name in names)
    columns = list(zip(*_tuples(mappings, names), strict=True))
    converted = [
        _converted(fields[name], values, first, is_key=name in definition.key)
        for name, values in zip(names, columns, strict=True)
    ]
    return ShippedRows(names, compared, converted, first)


def _mappings(definition: Definition, data: Sequence[Data], first: int) -> Sequence[Mapping[str, Any]]:
    if set(map(type, data)) == {dict}:
        return cast("Sequence[Mapping[str, Any]]", data)
    return [_mapping(definition, row, number) for number, row in enumerate(data, start=first)]


def _mapping(definition: Definition, row: object, number: int) -> Mapping[str, Any]:
    if isinstance(row, dict):
        return cast("dict[str, Any]", row)
    if isinstance(row, BaseModel):
        try:
            return new_values(definition.mapper, row)
        except InvalidDataError as error:
            raise SeedDataError(str(error), row=number) from error
    if isinstance(row, Mapping):
        return dict(cast("Mapping[str, Any]", row))
    raise SeedDataError(f"a row is a mapping or a Pydantic model, not {type(row).__name__}", row=number)


def _names(
    definition: Definition,
    fields: Mapping[str, Field],
    rows: Sequence[Mapping[str, Any]],
    first: int,
    insert_only: frozenset[str],
) -> tuple[str, ...]:
    given = dict.fromkeys(chain.from_iterable(rows))
    for name in given:
        if name not in fields:
            number = next(number for number, row in enumerate(rows, start=first) if name in row)
            raise SeedDataError(unknown_field(definition.mapper, name, fields), row=number, column=name)
    if not (_have(len(given), rows) and given.keys() >= set(definition.key)):
        for name in definition.key:
            if any(name not in row for row in rows):
                number = next(number for number, row in enumerate(rows, start=first) if name not in row)
                raise SeedDataError("it is part of the key, and the row lacks it", row=number, column=name)
    rest = [name for name in given if name not in definition.key]
    return (*definition.key, *sorted(rest, key=insert_only.__contains__))


def _have(count: int, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether each of *rows* has *count* values."""
    return set(map(len, rows)) == {count}


def _tuples(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[Values]:
    if len(names) > 1 and _have(len(names), rows):
        return list(map(itemgetter(*names), rows))
    return [tuple(row.get(name, MISSING) for name in names) for row in rows]


def _converted(field: Field, values: Sequence[Any], first: int, *, is_key: bool) -> Sequence[Any]:
    try:
        return field.converted_key(values) if is_key else field.converted(values)
    except BadValueError as error:
        raise SeedDataError(str(error), row=first + error.position, column=field.name) from error


@dataclass(slots=True, eq=False)
class PendingRow:
    """A row that is not known to be stored as it should be.

    Attributes:
        number: Its number among the seeder's rows, from 1.
        written: Its natural key as the seeder gives it, references included.
        values: Its values by attribute, without those that it leaves out.
        identity: The primary key of the stored row, or None where there is none.
        stored: The values of the stored row that are compared, by attribute.
        is_read: Whether the stored row was looked for.
        later: References that can be written only when all rows of a circle are there.
    """

    number: int
    written: Values
    values: dict[str, Any]
    identity: Values | None = None
    stored: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_read: bool = False
    later: dict[str, Ref] = field(default_factory=dict[str, Ref])

    @property
    def references(self) -> dict[str, Ref]:
        """The references among the values, by attribute."""
        return {name: value for name, value in self.values.items() if isinstance(value, Ref)}


def sort_in_levels(pending_rows: Sequence[PendingRow], optional: Iterable[str]) -> Iterable[list[PendingRow]]:
    """Return *pending_rows* such that each comes after those of them that it refers to, as many at once as can be.

    A circle is cut where an attribute may be empty: its reference is moved to `later`.

    Args:
        pending_rows: Rows of one seeder.
        optional: The attributes that may be empty.

    Raises:
        SeedDataError: A circle cannot be cut.
    """
    # A row that is stored already is there to be referred to.
    by_key = {pending.written: pending for pending in pending_rows if pending.identity is None}
    while True:
        sorter = TopologicalSorter({pending: _targets(pending, by_key) for pending in pending_rows})
        try:
            sorter.prepare()
        except CycleError as error:
            _cut(cast("list[PendingRow]", error.args[1]), by_key, frozenset(optional))
        else:
            return _levels(sorter)


def _targets(pending: PendingRow, by_key: Mapping[Values, PendingRow]) -> list[PendingRow]:
    return [by_key[reference.key] for reference in pending.references.values() if reference.key in by_key]


def _levels(sorter: TopologicalSorter[PendingRow]) -> Iterable[list[PendingRow]]:
    while sorter.is_active():
        level = sorted(sorter.get_ready(), key=lambda pending: pending.number)
        yield level
        sorter.done(*level)


def _cut(circle: list[PendingRow], by_key: Mapping[Values, PendingRow], optional: frozenset[str]) -> None:
    members = set(circle)
    for pending in circle:
        inside = {name: each for name, each in pending.references.items() if by_key.get(each.key) in members}
        if inside and inside.keys() <= optional:
            pending.later |= inside
            pending.values |= dict.fromkeys(inside)
            return
    numbers = ", ".join(str(number) for number in sorted({pending.number for pending in circle}))
    raise SeedDataError(f"the rows {numbers} refer to each other, and none of the references may be empty at first")
