"""The writer of a seeder's rows, and the retirement of those that it shipped once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from layered_backend.errors import (
    DatabaseUnavailableError,
    SeedDataError,
    StatementTimeoutError,
    TransientError,
    UnitOfWorkError,
)
from layered_backend.seeding.associations import Associations
from layered_backend.seeding.field import BadValueError
from layered_backend.seeding.references import UNKNOWN, Resolver, SeedTables
from layered_backend.seeding.report import RowAction, RowChange, Tally
from layered_backend.seeding.rows import PendingRow
from layered_backend.seeding.seed_table import SeedTable
from layered_backend.seeding.seeder import NewRow, Ref, Seeder
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["Retirement", "Writer", "retired_keys"]

Values = tuple[Any, ...]

_Write = Callable[[Sequence[PendingRow]], Awaitable[Sequence[Values] | None]]

_NOT_OF_A_ROW = (DatabaseUnavailableError, StatementTimeoutError, TransientError, UnitOfWorkError)


@dataclass(frozen=True, slots=True)
class _Update:
    pending: PendingRow
    values: Mapping[str, Any]


class Writer:
    """Writes the rows of one seeder. Lives as long as the seeder runs.

    Args:
        seeder: The seeder of the rows.
        table: The table that they are written to.
        uow: The transaction.
        tally: Counts them.
    """

    def __init__(self, seeder: type[Seeder[Any]], table: SeedTable, uow: UnitOfWork, tally: Tally) -> None:
        self._seeder = seeder
        self._table = table
        self._uow = uow
        self._tally = tally

    @property
    def is_dry_run(self) -> bool:
        """Tell whether nothing may be written."""
        return self._uow.read_only

    async def write(self, pending_rows: Sequence[PendingRow]) -> dict[Values, Values]:
        """Insert the pending_rows that are not stored and update those that differ.

        Returns:
            The values of `referable` of the inserted rows, by natural key.

        Raises:
            SeedDataError: A row cannot be written.
        """
        inserts = [pending for pending in pending_rows if pending.identity is None]
        updates = [
            _Update(pending, changed)
            for pending in pending_rows
            if pending.identity is not None and ((changed := self._changed(pending)) or pending.links)
        ]
        for pending in inserts:
            self._check(pending, pending.values)
        for update in updates:
            self._check(update.pending, update.values)
        self._tally.unchanged += len(pending_rows) - len(inserts) - len(updates)
        inserted = await self._insert(inserts)
        await self._update(updates)
        return inserted

    async def complete(self, pending_rows: Sequence[tuple[PendingRow, Values, Mapping[str, Any]]]) -> None:
        """Write the references that had to wait: of each pending, its primary key and the values."""
        if self.is_dry_run:
            return
        changes = {pending: (identity, values) for pending, identity, values in pending_rows}
        if changes:
            await self._blaming(list(changes), lambda some: self._table.update([changes[pending] for pending in some]))

    async def link(
        self, associations: Associations, name: str, linked: Sequence[tuple[Values, PendingRow, Set[Values]]]
    ) -> None:
        """Write what the relationship *name* associates with rows: of each, its primary key, the row and the targets'."""
        if self.is_dry_run:
            return
        wanted = {pending: (identity, targets) for identity, pending, targets in linked}
        await self._blaming(list(wanted), lambda some: associations.write(name, dict(wanted[each] for each in some)))

    def _changed(self, pending: PendingRow) -> dict[str, Any]:
        fields = self._table.fields
        given = {
            name: value
            for name, value in pending.values.items()
            if name in pending.stored and not (value is None and name in self._table.counted)
        }
        return {name: value for name, value in given.items() if not fields[name].is_same(value, pending.stored[name])}

    def _check(self, pending: PendingRow, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if value is None and name in pending.later:
                continue
            reason = self._table.refusal(name, value)
            if reason is not None and not (value is None and name in self._table.counted):
                raise SeedDataError(reason, row=pending.number, column=name, key=self._key_text(pending))

    async def _insert(self, pending_rows: Sequence[PendingRow]) -> dict[Values, Values]:
        rows: list[Values] = []
        if self.is_dry_run:
            rows = [self._foreseen(pending) for pending in pending_rows]
        elif pending_rows:
            rows = await self._blaming(
                pending_rows, lambda some: self._table.insert([pending.values for pending in some])
            )
        self._tally.inserted += len(pending_rows)
        for pending in pending_rows:
            self._tally.record(
                RowChange(
                    RowAction.INSERT,
                    self._key_of(pending),
                    after={**pending.values, **pending.later, **_listed(pending.links)},
                )
            )
        found = {
            tuple(pending.values[name] for name in self._table.key): row
            for pending, row in zip(pending_rows, rows, strict=True)
        }
        return found | {pending.written: row for pending, row in zip(pending_rows, rows, strict=True)}

    def _foreseen(self, pending: PendingRow) -> Values:
        stand_in = NewRow(Ref(self._seeder, pending.written))
        given = pending.values
        return tuple(stand_in if given.get(name) is None else given[name] for name in self._table.referable)

    async def _update(self, updates: Sequence[_Update]) -> None:
        by_line = {update.pending: update.values for update in updates if update.values}
        if by_line and not self.is_dry_run:
            await self._blaming(
                list(by_line),
                lambda some: self._table.update([(pending.identity or (), by_line[pending]) for pending in some]),
            )
        self._tally.updated += len(updates)
        for update in updates:
            pending = update.pending
            before = {name: pending.stored[name] for name in update.values} | pending.stored_links
            after = {**update.values, **_listed(pending.links)}
            self._tally.record(RowChange(RowAction.UPDATE, self._key_of(pending), before, after))

    async def _blaming(self, pending_rows: Sequence[PendingRow], write: _Write) -> list[Values]:
        """Write *pending_rows* at once; if the database refuses, halve them until the refused row is known."""
        try:
            async with self._uow.savepoint():
                return list(await write(pending_rows) or ())
        except _NOT_OF_A_ROW:
            raise
        except Exception as error:
            if len(pending_rows) == 1:
                raise self._blamed(pending_rows[0], error) from error
        middle = len(pending_rows) // 2
        first = await self._blaming(pending_rows[:middle], write)
        second = await self._blaming(pending_rows[middle:], write)
        return first + second

    def _blamed(self, pending: PendingRow, error: Exception) -> SeedDataError:
        columns: tuple[str, ...] = getattr(error, "columns", ())
        column = columns[0] if len(columns) == 1 else None
        return SeedDataError(str(error), row=pending.number, column=column, key=self._key_text(pending))

    def _key_of(self, pending: PendingRow) -> dict[str, Any]:
        return dict(zip(self._table.key, pending.written, strict=True))

    def _key_text(self, pending: PendingRow) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._key_of(pending).items())


def _listed(links: Mapping[str, Sequence[Ref]]) -> dict[str, Any]:
    return {name: sorted(references, key=repr) for name, references in links.items()}


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
                tuple(targets[reference])
                for reference in zip(table.own_references.values(), row[width:start], strict=True)
                if targets.get(reference, row) is not row
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
