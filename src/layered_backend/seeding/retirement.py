"""Retirement: rows that were shipped once are deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from layered_backend.errors import SeedDataError
from layered_backend.seeding.field import BadValueError
from layered_backend.seeding.report import RowAction, RowChange
from layered_backend.seeding.resolver import UNKNOWN, Resolver
from layered_backend.seeding.seed_table import SeedTable, SeedTables
from layered_backend.seeding.seeder import NewRow, Ref, Seeder
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["Retirement", "retired_keys"]

Values = tuple[Any, ...]


class Retirement:
    """The retired rows of one seeder that are still there. Lives as long as the run's transaction.

    Attributes:
        seeder: The seeder that shipped them.
        rows: Their natural keys, then their values of `referable`, then what they refer to in their own table.
    """

    def __init__(self, seeder: type[Seeder[Any]], tables: SeedTables, resolver: Resolver, uow: UnitOfWork) -> None:
        self.seeder = seeder
        self.rows: Sequence[Values] = ()
        self._table = tables.of(seeder)
        self._resolver = resolver
        self._uow = uow

    async def find(self) -> None:
        """Look for the rows."""
        keys = [
            key for key in await self._keys() if not any(part is UNKNOWN or isinstance(part, NewRow) for part in key)
        ]
        names = (*self._table.key, *self._table.own_references)
        self.rows = await self._table.read(names, keys) if keys else ()

    @property
    def changes(self) -> list[RowChange]:
        """The deletions, for the report."""
        return [RowChange(RowAction.DELETE, dict(zip(self._table.key, row, strict=False))) for row in self.rows]

    async def delete(self) -> None:
        """Delete the rows, those that refer to others of them first."""
        table = self._table
        start = len(table.key) + len(table.own_references)
        for level in self._referring_first():
            await table.delete([row[start : start + len(table.identity)] for row in level])
        transactions = self._uow.database.dialect.transactions
        await self._uow.session.run_sync(
            lambda session: transactions.check_deferred(session.connection(), table.tables)
        )

    async def _keys(self) -> list[Values]:
        keys = retired_keys(self.seeder, self._table)
        await self._resolver.look_up({part for key in keys for part in key if isinstance(part, Ref)})
        fields = [self._table.fields[name] for name in self._table.key]
        return [
            tuple(
                self._resolver.value(field, part) if isinstance(part, Ref) else part
                for field, part in zip(fields, key, strict=True)
            )
            for key in keys
        ]

    def _referring_first(self) -> Iterable[Sequence[Values]]:
        """Return the rows in groups, each before the rows that it refers to, as some databases check row by row."""
        if not self._table.own_references:
            return [self.rows]
        sorter = TopologicalSorter(self._references())
        try:
            sorter.prepare()
        except CycleError:
            return [self.rows]  # which only a database that checks at the end of the statement takes
        return reversed(list(_groups(sorter)))

    def _references(self) -> Mapping[Values, Sequence[Values]]:
        table, width = self._table, len(self._table.key)
        start = width + len(table.own_references)
        targets: dict[tuple[str, Any], Values] = {}
        for row in self.rows:
            targets |= dict.fromkeys(zip(table.referable, row[start:], strict=True), row)
        return {
            tuple(row): [
                tuple(targets[target, value])
                for (target, value) in zip(table.own_references.values(), row[width:start], strict=True)
                if (target, value) in targets
            ]
            for row in self.rows
        }


def _groups(sorter: TopologicalSorter[Values]) -> Iterable[Sequence[Values]]:
    while sorter.is_active():
        group = sorter.get_ready()
        yield group
        sorter.done(*group)


def retired_keys(seeder: type[Seeder[Any]], table: SeedTable) -> list[Values]:
    """Return the natural keys in `retired`, as the columns hold them; references stay.

    Raises:
        SeedDataError: One has another number of parts, or a part that its column cannot hold.
    """
    return [_retired_key(seeder, table, entry) for entry in seeder.retired]


def _retired_key(seeder: type[Seeder[Any]], table: SeedTable, entry: Any) -> Values:
    parts: Values = (entry,) if len(table.key) == 1 else entry
    if type(parts) is not tuple or len(parts) != len(table.key):
        names = " and ".join(table.key)
        raise SeedDataError(f"retired has {entry!r}, and the key is {names}", seeder=seeder.name)
    try:
        return tuple(table.fields[name].converted_key((part,))[0] for name, part in zip(table.key, parts, strict=True))
    except BadValueError as error:
        raise SeedDataError(f"retired has {entry!r}: {error}", seeder=seeder.name) from error
