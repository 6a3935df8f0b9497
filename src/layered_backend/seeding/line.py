"""A row on its way into the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from layered_backend.errors import SeedDataError
from layered_backend.seeding.references import Ref

__all__ = ["Line", "in_levels"]

Values = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class Line:
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


def in_levels(lines: Sequence[Line], optional: Iterable[str]) -> Iterable[list[Line]]:
    """Return *lines* such that each comes after those of them that it refers to, as many at once as can be.

    A circle is cut where an attribute may be empty: its reference is moved to `later`.

    Args:
        lines: Rows of one seeder.
        optional: The attributes that may be empty.

    Raises:
        SeedDataError: A circle cannot be cut.
    """
    # A row that is stored already is there to be referred to.
    by_key = {line.written: line for line in lines if line.identity is None}
    while True:
        sorter = TopologicalSorter({line: _targets(line, by_key) for line in lines})
        try:
            sorter.prepare()
        except CycleError as error:
            _cut(cast("list[Line]", error.args[1]), by_key, frozenset(optional))
        else:
            return _levels(sorter)


def _targets(line: Line, by_key: Mapping[Values, Line]) -> list[Line]:
    return [by_key[reference.key] for reference in line.references.values() if reference.key in by_key]


def _levels(sorter: TopologicalSorter[Line]) -> Iterable[list[Line]]:
    while sorter.is_active():
        level = sorted(sorter.get_ready(), key=lambda line: line.number)
        yield level
        sorter.done(*level)


def _cut(circle: list[Line], by_key: Mapping[Values, Line], optional: frozenset[str]) -> None:
    members = set(circle)
    for line in circle:
        inside = {name: each for name, each in line.references.items() if by_key.get(each.key) in members}
        if inside and inside.keys() <= optional:
            line.later |= inside
            line.values |= dict.fromkeys(inside)
            return
    numbers = ", ".join(str(number) for number in sorted({line.number for line in circle}))
    raise SeedDataError(f"the rows {numbers} refer to each other, and none of the references may be empty at first")
