"""The writer of a seeder's rows, and the tally of its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layered_backend.errors import (
    DatabaseUnavailableError,
    SeedDataError,
    StatementTimeoutError,
    TransientError,
    UnitOfWorkError,
)
from layered_backend.seeding.pending_row import PendingRow
from layered_backend.seeding.report import RowAction, RowChange
from layered_backend.seeding.seed_table import SeedTable
from layered_backend.seeding.seeder import NewRow, Ref, Seeder
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["Tally", "Writer"]

Values = tuple[Any, ...]

_Write = Callable[[Sequence[PendingRow]], Awaitable[Sequence[Values] | None]]

_NOT_OF_A_ROW = (DatabaseUnavailableError, StatementTimeoutError, TransientError, UnitOfWorkError)


@dataclass(slots=True)
class Tally:
    """The number of rows that a seeder changed, or would change in a dry run.

    Attributes:
        changes: The change of each row; None if they are not recorded.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    changes: list[RowChange] | None = None

    @property
    def rows(self) -> int:
        """The number of rows that were compared."""
        return self.inserted + self.updated + self.unchanged

    @property
    def has_written(self) -> bool:
        """Tell whether a row was changed."""
        return bool(self.inserted or self.updated or self.deleted)

    def record(self, change: RowChange) -> None:
        if self.changes is not None:
            self.changes.append(change)


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
            if pending.identity and (changed := self._changed(pending))
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

    def _changed(self, pending: PendingRow) -> dict[str, Any]:
        fields = self._table.fields
        return {
            name: pending.values[name]
            for name, stored in pending.stored.items()
            if name in pending.values and not fields[name].is_same(pending.values[name], stored)
        }

    def _check(self, pending: PendingRow, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if value is None and name in pending.later:
                continue
            reason = self._table.fields[name].refusal(value)
            if reason is not None and not (value is None and name in self._table.identity):
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
                RowChange(RowAction.INSERT, self._key_of(pending), after={**pending.values, **pending.later})
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
        if updates and not self.is_dry_run:
            by_line = {update.pending: update.values for update in updates}
            await self._blaming(
                list(by_line),
                lambda some: self._table.update([(pending.identity or (), by_line[pending]) for pending in some]),
            )
        self._tally.updated += len(updates)
        for update in updates:
            before = {name: update.pending.stored[name] for name in update.values}
            self._tally.record(RowChange(RowAction.UPDATE, self._key_of(update.pending), before, update.values))

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
