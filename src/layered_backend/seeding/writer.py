"""Writing the rows of a seeder, and counting what was done."""

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
from layered_backend.seeding.line import Line
from layered_backend.seeding.references import NewRow, Ref
from layered_backend.seeding.report import RowAction, RowChange
from layered_backend.seeding.seeder import Seeder
from layered_backend.seeding.table import SeedTable
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["Tally", "Writer"]

Values = tuple[Any, ...]

_Write = Callable[[Sequence[Line]], Awaitable[Sequence[Values] | None]]

_NOT_OF_A_ROW = (DatabaseUnavailableError, StatementTimeoutError, TransientError, UnitOfWorkError)


@dataclass(slots=True)
class Tally:
    """What was done with the rows of a seeder, or in a dry run would be.

    Attributes:
        changes: What would become of each row; None where that is not asked for.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    changes: list[RowChange] | None = None

    @property
    def rows(self) -> int:
        """How many rows were compared."""
        return self.inserted + self.updated + self.unchanged

    @property
    def has_written(self) -> bool:
        """Whether a row was changed."""
        return bool(self.inserted or self.updated or self.deleted)

    def record(self, change: RowChange) -> None:
        if self.changes is not None:
            self.changes.append(change)


@dataclass(frozen=True, slots=True)
class _Update:
    line: Line
    values: Mapping[str, Any]


class Writer:
    """Writes the rows of one seeder. Lives as long as the seeder runs.

    Args:
        seeder: Whose rows they are.
        table: Where they are written.
        uow: The transaction.
        tally: What counts them.
    """

    def __init__(self, seeder: type[Seeder[Any]], table: SeedTable, uow: UnitOfWork, tally: Tally) -> None:
        self._seeder = seeder
        self._table = table
        self._uow = uow
        self._tally = tally

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be written."""
        return self._uow.read_only

    async def write(self, lines: Sequence[Line]) -> dict[Values, Values]:
        """Insert the lines that are not stored and update those that differ.

        Returns:
            The values of `referable` of the inserted rows, by natural key.

        Raises:
            SeedDataError: A row cannot be written.
        """
        inserts = [line for line in lines if line.identity is None]
        updates = [_Update(line, changed) for line in lines if line.identity and (changed := self._changed(line))]
        for line in inserts:
            self._check(line, line.values)
        for update in updates:
            self._check(update.line, update.values)
        self._tally.unchanged += len(lines) - len(inserts) - len(updates)
        inserted = await self._insert(inserts)
        await self._update(updates)
        return inserted

    async def complete(self, lines: Sequence[tuple[Line, Values, Mapping[str, Any]]]) -> None:
        """Write the references that had to wait: of each line, its primary key and the values."""
        if self.is_dry_run:
            return
        changes = {line: (identity, values) for line, identity, values in lines}
        if changes:
            await self._blaming(list(changes), lambda some: self._table.update([changes[line] for line in some]))

    def _changed(self, line: Line) -> dict[str, Any]:
        fields = self._table.fields
        return {
            name: line.values[name]
            for name, stored in line.stored.items()
            if name in line.values and not fields[name].is_same(line.values[name], stored)
        }

    def _check(self, line: Line, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if value is None and name in line.later:
                continue
            reason = self._table.fields[name].refusal(value)
            if reason is not None and not (value is None and name in self._table.identity):
                raise SeedDataError(reason, row=line.number, column=name, key=self._key_text(line))

    async def _insert(self, lines: Sequence[Line]) -> dict[Values, Values]:
        rows: Sequence[Values] = []
        if self.is_dry_run:
            rows = [self._foreseen(line) for line in lines]
        elif lines:
            rows = await self._blaming(lines, lambda some: self._table.insert([line.values for line in some]))
        self._tally.inserted += len(lines)
        for line in lines:
            self._tally.record(RowChange(RowAction.INSERT, self._key_of(line), after={**line.values, **line.later}))
        found = {
            tuple(line.values[name] for name in self._table.key): row for line, row in zip(lines, rows, strict=True)
        }
        return found | {line.written: row for line, row in zip(lines, rows, strict=True)}

    def _foreseen(self, line: Line) -> Values:
        stand_in = NewRow(Ref(self._seeder, line.written))
        given = line.values
        return tuple(stand_in if given.get(name) is None else given[name] for name in self._table.referable)

    async def _update(self, updates: Sequence[_Update]) -> None:
        if updates and not self.is_dry_run:
            by_line = {update.line: update.values for update in updates}
            await self._blaming(
                list(by_line), lambda some: self._table.update([(line.identity or (), by_line[line]) for line in some])
            )
        self._tally.updated += len(updates)
        for update in updates:
            before = {name: update.line.stored[name] for name in update.values}
            self._tally.record(RowChange(RowAction.UPDATE, self._key_of(update.line), before, update.values))

    async def _blaming(self, lines: Sequence[Line], write: _Write) -> list[Values]:
        """Write *lines* in one go; where the database refuses, halve them until it is known which one it refuses."""
        try:
            async with self._uow.savepoint():
                return list(await write(lines) or ())
        except _NOT_OF_A_ROW:
            raise
        except Exception as error:
            if len(lines) == 1:
                raise self._blamed(lines[0], error) from error
        middle = len(lines) // 2
        first = await self._blaming(lines[:middle], write)
        second = await self._blaming(lines[middle:], write)
        return first + second

    def _blamed(self, line: Line, error: Exception) -> SeedDataError:
        columns: tuple[str, ...] = getattr(error, "columns", ())
        column = columns[0] if len(columns) == 1 else None
        return SeedDataError(str(error), row=line.number, column=column, key=self._key_text(line))

    def _key_of(self, line: Line) -> dict[str, Any]:
        return dict(zip(self._table.key, line.written, strict=True))

    def _key_text(self, line: Line) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._key_of(line).items())
