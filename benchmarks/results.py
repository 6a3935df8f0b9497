"""What was measured: ratios with their spread, the bars, and which of them are met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from benchmarks.contenders import ENTITIES, PEERS, in_order

__all__ = ["TOLERANCE", "Cell", "DatabaseResults", "Measure", "Results", "Row", "Run", "Spread", "cells_of", "compared"]

TOLERANCE = 0.03  # of a ratio of processor time: the medians of two quiet runs of the same code differ by as much

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
        """Tell whether the bar is met, or None if the cell has no bar. An operation that is missing does not meet it."""
        if self.bar is None:
            return None
        tolerance = {"cpu": TOLERANCE, "microseconds": TOLERANCE * self.bar}.get(measure, 0)
        return self.spread is not None and self.spread.median <= self.bar + tolerance


class Row(_Record):
    """One operation, and what each contender needed for it.

    Attributes:
        section: The table that it belongs to.
        name: The operation's name.
        measure: What the numbers are.
        microseconds: The time of one hand-written call; None where the numbers are amounts themselves.
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

    @property
    def cheaper_peers(self) -> Sequence[str]:
        """The peers whose median is below that of the library's entities."""
        medians = {name: cell.spread.median for name, cell in self.cells.items() if cell.spread is not None}
        return [name for name in PEERS if ENTITIES in medians and name in medians and medians[name] < medians[ENTITIES]]


class DatabaseResults(_Record):
    """All rows of one database, and its version."""

    name: str
    version: str
    rows: Sequence[Row]


class Run(_Record):
    """One run, with one Python.

    Attributes:
        measured: The day.
        python: The version of the interpreter.
        packages: The versions of the measured packages, and of those they use.
        rounds: The number of rounds that each spread is made of, except where an operation is measured once.
        databases: What was measured on each.
    """

    measured: date
    python: str
    packages: Mapping[str, str]
    rounds: int
    databases: Sequence[DatabaseResults]

    @property
    def minor(self) -> str:
        """The version of Python without its patch level, such as 3.13."""
        return ".".join(self.python.split(".")[:2])

    def rows_of(self, database: str) -> Sequence[Row]:
        """Return the rows of the database with that name; none if it was not measured."""
        return [row for each in self.databases if each.name == database for row in each.rows]


class Results(_Record):
    """The published runs: the last one with each Python, the oldest Python first."""

    runs: Sequence[Run]

    @property
    def databases(self) -> Sequence[str]:
        """The names of the databases, in the order in which they were measured."""
        return list(dict.fromkeys(each.name for run in self.runs for each in run.databases))

    def with_run(self, run: Run) -> Results:
        """Return the results with *run* in the place of an earlier one with the same Python."""
        others = [each for each in self.runs if each.minor != run.minor]
        return Results(runs=sorted((*others, run), key=lambda each: [int(part) for part in each.minor.split(".")]))


def compared(times: Mapping[str, Sequence[float]], baseline: str, measure: Measure) -> Mapping[str, Sequence[float]]:
    """Return each contender's seconds, round by round, as parts of the baseline's, or as the microseconds beyond them."""
    parts: dict[str, list[float]] = {}
    for name, rounds in times.items():
        pairs = zip(rounds, times[baseline], strict=True)
        parts[name] = [(own - its) * 1e6 if measure == "microseconds" else own / its for own, its in pairs]
    del parts[baseline]
    return parts


def cells_of(values: Mapping[str, Sequence[float]], bars: Mapping[str, float | str]) -> Mapping[str, Cell]:
    """Return the cells of a row.

    Args:
        values: The values of the rounds, by contender.
        bars: The bars, by contender; a name in place of a number is the contender whose median is the bar.
    """
    spreads = {name: Spread.of(rounds) for name, rounds in values.items()}
    limits = {name: spreads[bar].median if isinstance(bar, str) else bar for name, bar in bars.items()}
    return {name: Cell(spread=spreads.get(name), bar=limits.get(name)) for name in in_order({*spreads, *limits})}
