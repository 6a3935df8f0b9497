"""What was measured: ratios with their spread, the bars, and which of them are met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

__all__ = ["TOLERANCE", "Cell", "DatabaseResults", "Measure", "Results", "Row", "Spread", "compared"]

TOLERANCE = 0.05  # of a ratio of processor time: two runs of the same code differ by as much

Measure = Literal["cpu", "wall", "microseconds", "mebibytes"]
"""Ratios of processor time or of elapsed time, or an amount as it is."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Record):
    """The least, the median and the greatest of several rounds."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of *values*, of which there is at least one."""
        least, median, greatest = (round(value, 4) for value in (min(values), statistics.median(values), max(values)))
        return cls(least=least, median=median, greatest=greatest)


class Cell(_Record):
    """One contender at one operation.

    Attributes:
        spread: What was measured; None where the contender has no such operation.
        bar: What the median must not exceed; None where nothing is asked.
    """

    spread: Spread | None
    bar: float | None = None

    def is_met(self, measure: Measure) -> bool | None:
        """Tell whether the bar is met, or None where there is none; what is not there does not meet it."""
        if self.bar is None:
            return None
        tolerance = TOLERANCE if measure == "cpu" else 0
        return self.spread is not None and self.spread.median <= self.bar + tolerance


class Row(_Record):
    """One operation, and what each contender took for it.

    Attributes:
        section: The table that it belongs to.
        name: Of the operation.
        measure: What the numbers are.
        microseconds: What one call takes that is written by hand; None where the numbers are amounts themselves.
        cells: By contender.
    """

    section: str
    name: str
    measure: Measure
    microseconds: float | None
    cells: Mapping[str, Cell]

    @property
    def missed(self) -> Sequence[str]:
        """The contenders that do not meet their bar."""
        return [name for name, cell in self.cells.items() if cell.is_met(self.measure) is False]


class DatabaseResults(_Record):
    """All rows of one database, and which version of it."""

    name: str
    version: str
    rows: Sequence[Row]

    @property
    def sections(self) -> Mapping[str, Sequence[Row]]:
        """The rows by section, in the order in which they were measured."""
        sections: dict[str, list[Row]] = {}
        for row in self.rows:
            sections.setdefault(row.section, []).append(row)
        return sections


class Results(_Record):
    """One run.

    Attributes:
        python: The version of the interpreter.
        packages: The versions of what was measured, and of what it works with.
        rounds: How many rounds each spread is of, but for those that are measured once.
        databases: What was measured on each.
    """

    python: str
    packages: Mapping[str, str]
    rounds: int
    databases: Sequence[DatabaseResults]


def compared(times: Mapping[str, Sequence[float]], baseline: str, measure: Measure) -> Mapping[str, Sequence[float]]:
    """Return each contender's seconds, round by round, as parts of the baseline's, or as the microseconds beyond them."""
    parts: dict[str, list[float]] = {}
    for name, rounds in times.items():
        pairs = zip(rounds, times[baseline], strict=True)
        parts[name] = [(own - its) * 1e6 if measure == "microseconds" else own / its for own, its in pairs]
    del parts[baseline]
    return parts
