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
from layered_backend.errors import InvalidDataError, SeedDataError, SeedReferenceError
from layered_backend.field_values import Data, is_plain, new_values
from layered_backend.seeding.field import BadValueError, Field, unknown_field
from layered_backend.seeding.seeder import Definition, Ref, Seeder, ref

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
        links: Of each relationship, the references of the rows; `MISSING` where a row leaves it out.
    """

    names: tuple[str, ...]
    compared: int
    columns: Sequence[Sequence[Any]]
    first: int
    links: Mapping[str, Sequence[Any]]

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


def check_rows(definition: Definition, fields: Mapping[str, Field], data: Sequence[Data], first: int) -> ShippedRows:
    """Return the rows *data*, checked and converted.

    Args:
        definition: The definition of the seeder.
        fields: The fields of its mapped class.
        data: The rows, as the seeder gives them; at least one.
        first: The number of the first of them, from 1.

    Raises:
        SeedDataError: A row is not made of names and values, lacks a part of the key, names a column that is not there,
            or has a value that its column cannot hold.
    """
    mappings = _mappings(definition, data, first)
    names, linked = _names(definition, fields, mappings, first)
    compared = sum(name not in definition.insert_only for name in names)
    columns = list(zip(*_tuples(mappings, names), strict=True))
    converted = [
        _converted(definition, fields[name], values, first) for name, values in zip(names, columns, strict=True)
    ]
    links = {
        name: [_links(definition, name, row.get(name, MISSING), number) for number, row in enumerate(mappings, first)]
        for name in linked
    }
    return ShippedRows(names, compared, converted, first, links)


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
) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the columns in *rows*, in the order in which they are compared, and those of relationships."""
    given = dict.fromkeys(chain.from_iterable(rows))
    for name in given:
        if name not in fields and name not in definition.associations:
            number = next(number for number, row in enumerate(rows, start=first) if name in row)
            raise SeedDataError(unknown_field(definition.mapper, name, fields), row=number, column=name)
    if not (_have(len(given), rows) and given.keys() >= set(definition.key)):
        for name in definition.key:
            if any(name not in row for row in rows):
                number = next(number for number, row in enumerate(rows, start=first) if name not in row)
                raise SeedDataError("it is part of the key, and the row lacks it", row=number, column=name)
    rest = [name for name in given if name not in definition.key and name in fields]
    linked = [name for name in given if name not in fields]
    return (*definition.key, *sorted(rest, key=definition.insert_only.__contains__)), linked


def _have(count: int, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether each of *rows* has *count* values."""
    return set(map(len, rows)) == {count}


def _tuples(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[Values]:
    if len(names) > 1 and _have(len(names), rows):
        return list(map(itemgetter(*names), rows))
    return [tuple(row.get(name, MISSING) for name in names) for row in rows]


def _converted(definition: Definition, field: Field, values: Sequence[Any], first: int) -> Sequence[Any]:
    if dict in set(map(type, values)) and (field.column.foreign_keys or is_plain(field.column.type)):
        values = [_referring(definition, field.name, value, number) for number, value in enumerate(values, first)]
    try:
        return field.converted_key(values) if field.name in definition.key else field.converted(values)
    except BadValueError as error:
        raise SeedDataError(str(error), row=first + error.position, column=field.name) from error


def _links(definition: Definition, name: str, value: object, number: int) -> Any:
    """Return the references in the value of a relationship."""
    if value is MISSING:
        return value
    members = cast("Sequence[object]", value if isinstance(value, (list, tuple)) else [value])
    links = tuple(_referring(definition, name, member, number) for member in members)
    if not isinstance(value, (list, tuple)) or not all(isinstance(link, Ref) for link in links):
        raise SeedDataError("the relationship takes a list of ref(...)", row=number, column=name)
    twice = next((link for link in links if links.count(link) > 1), None)
    if twice is not None:
        raise SeedDataError(f"the list has {twice!r} twice", row=number, column=name)
    return links


def _referring(definition: Definition, name: str, value: object, number: int) -> object:
    """Return the reference that *value* writes as files do, `{"ref": ["CategorySeeder", "drinks"]}`, else *value*."""
    given: Any = value
    written = given.get("ref") if isinstance(value, dict) and len(given) == 1 else None
    if not isinstance(written, list) or not written:
        return given
    seeder_name, *parts = cast("list[object]", written)
    seeder = _seeder_named(definition.seeder, seeder_name)
    if seeder is None:
        raise SeedReferenceError(
            f"{seeder_name!r} is no seeder that {definition.seeder.name} depends on", row=number, column=name
        )
    try:
        return ref(seeder, *(_referring(definition, name, part, number) for part in parts))
    except TypeError as error:
        raise SeedReferenceError(f"{written!r} is no reference ({error})", row=number, column=name) from error


def _seeder_named(seeder: type[Seeder[Any]], name: object) -> type[Seeder[Any]] | None:
    """Return *seeder*, or one that it depends on, whichever has that name."""
    if seeder.name == name:
        return seeder
    return next(filter(None, (_seeder_named(each, name) for each in seeder.depends_on)), None)


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
        links: The references of each relationship that may differ from what is associated with the stored row.
        stored_links: What is associated with the stored row by those relationships.
    """

    number: int
    written: Values
    values: dict[str, Any]
    identity: Values | None = None
    stored: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_read: bool = False
    later: dict[str, Ref] = field(default_factory=dict[str, Ref])
    links: dict[str, tuple[Ref, ...]] = field(default_factory=dict[str, tuple[Ref, ...]])
    stored_links: dict[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])

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
