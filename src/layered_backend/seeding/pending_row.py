"""Pending rows: rows of a seeder that are not stored yet, or differ from the stored ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from layered_backend.errors import SeedDataError
from layered_backend.seeding.seeder import Ref

__all__ = ["PendingRow", "sort_in_levels"]

Values = tuple[Any, ...]


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
