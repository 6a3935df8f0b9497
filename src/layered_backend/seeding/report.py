"""Reports of a run, made after its COMMIT, and the tally that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["RowAction", "RowChange", "SeedProgress", "SeedReport", "SeedResult", "SeedStatus", "Tally"]


class SeedStatus(StrEnum):
    """The outcome of a seeder."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class RowAction(StrEnum):
    """The action that a dry run would do to a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class RowChange:
    """The change that a dry run would make to one row.

    Attributes:
        action: The action.
        key: The row's natural key, by attribute.
        before: The values that would be overwritten, by attribute; empty for an insert and a delete.
        after: The values that would be written, by attribute; empty for a delete.
    """

    action: RowAction
    key: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    after: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        if self.action is RowAction.UPDATE:
            changes = (f"{name}: {self.before[name]!r} -> {value!r}" for name, value in self.after.items())
            return f"update {key} ({', '.join(changes)})"
        return f"{self.action} {key}"


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
class SeedResult:
    """The result of one seeder.

    Attributes:
        name: Of the seeder, or of the module that could not be imported.
        status: Whether it was carried out.
        inserted: How many rows were inserted; in a dry run, would be. 0 unless the transaction was committed.
        updated: How many rows were changed.
        unchanged: How many rows were as they should be.
        deleted: How many retired rows were deleted.
        error: What it failed with, or None.
        reason: Why it was skipped, or None.
        seconds: How long it took.
        changes: In a dry run, what would become of each row; empty otherwise.
    """

    name: str
    status: SeedStatus
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    error: BaseException | None = None
    reason: str | None = None
    seconds: float = 0.0
    changes: Sequence[RowChange] = ()

    def __str__(self) -> str:
        if self.status is SeedStatus.FAILED:
            return f"{self.name}: failed: {self.error}"
        if self.status is SeedStatus.SKIPPED:
            return f"{self.name}: skipped: {self.reason}"
        counts = f"{self.inserted} inserted, {self.updated} updated, {self.unchanged} unchanged, {self.deleted} deleted"
        return f"{self.name}: {counts}"


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The results of a run.

    Attributes:
        results: One for each seeder, in the order of the run, after one for each module that could not be imported.
        environment: Where the run took place.
        is_dry_run: Whether nothing was to be written.
        error: What the run as a whole failed with, so that nothing was written, or None.
    """

    results: Sequence[SeedResult]
    environment: str
    is_dry_run: bool = False
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Tell whether nothing failed. A seeder that this environment skips has not failed."""
        return self.error is None and all(result.status is not SeedStatus.FAILED for result in self.results)

    def __getitem__(self, name: str) -> SeedResult:
        """Return the result of the seeder *name*.

        Raises:
            KeyError: It has none.
        """
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def __str__(self) -> str:
        lines = [str(result) for result in self.results]
        if self.is_dry_run:
            lines.append("A dry run: nothing was written.")
        if self.error is not None:
            lines.append(f"Nothing was written: {self.error}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report in types of JSON; values of rows are written as Python writes them."""
        return {
            "ok": self.ok,
            "environment": self.environment,
            "dry_run": self.is_dry_run,
            "error": None if self.error is None else str(self.error),
            "results": [_result_as_dict(result) for result in self.results],
        }


@dataclass(frozen=True, slots=True)
class SeedProgress:
    """The progress of a run.

    Attributes:
        seeder: The name of the seeder that runs.
        position: Its place in the order, from 1.
        seeders: How many run altogether.
        rows: How many of its rows have been compared.
        total: How many rows it has, or None where it does not tell before it ends.
        is_done: Whether the seeder has ended.
    """

    seeder: str
    position: int
    seeders: int
    rows: int
    total: int | None
    is_done: bool = False


def _result_as_dict(result: SeedResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "status": str(result.status),
        "inserted": result.inserted,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "error": None if result.error is None else str(result.error),
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "changes": [_change_as_dict(change) for change in result.changes],
    }


def _change_as_dict(change: RowChange) -> dict[str, Any]:
    return {
        "action": str(change.action),
        **{
            part: {name: _plain(value) for name, value in values.items()}
            for part, values in (("key", change.key), ("before", change.before), ("after", change.after))
        },
    }


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else str(value)
