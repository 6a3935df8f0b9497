"""Whether the machine is quiet: under load everything costs more, ratios shrink, and the figures flatter.

Two signs tell. The load when a run begins is what other processes do then. The time of the hand-written operations,
against the best that this machine has ever needed for them, covers the whole run. The best times are kept in a file of
the user's cache, outside of the repository, since they belong to a machine.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmarks.results import Run

__all__ = ["HIGHEST_LOAD", "MOST_ABOVE_BEST", "BestTimes", "SlowOperation", "cache_file", "load_once_quiet"]

HIGHEST_LOAD = 0.5  # processes that want a processor, on average over the last minute
MOST_ABOVE_BEST = 0.15  # of the best hand-written time
_PATIENCE = 5 * 60  # seconds: the load of this run's own beginning, or of the run before it, must fade
_INTERVAL = 5  # seconds between two looks

_Times = TypeAdapter(dict[str, float])


def load_once_quiet(patience: float = _PATIENCE) -> float:
    """Return the machine's load as soon as it is low enough, or as it is after *patience* seconds."""
    deadline = time.monotonic() + patience
    while (load := os.getloadavg()[0]) > HIGHEST_LOAD and time.monotonic() < deadline:
        time.sleep(min(_INTERVAL, max(0, deadline - time.monotonic())))
    return load


def cache_file() -> Path:
    """Return the file of the best times, in the folder where the system expects a user's caches."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "layered-backend" / "benchmark-times.json"


@dataclass(frozen=True)
class SlowOperation:
    """A hand-written operation that took longer than it must on this machine.

    Attributes:
        name: The database and the operation.
        microseconds: The time of one call in this run.
        best: The best time of one call, in microseconds.
    """

    name: str
    microseconds: float
    best: float

    def __str__(self) -> str:
        above = self.microseconds / self.best - 1
        return f"{self.name}: {self.microseconds:,.0f} µs, {above:.0%} above the best of {self.best:,.0f} µs"


class BestTimes:
    """The best hand-written times, by machine, Python, database and operation.

    Args:
        path: The file that holds them; it need not exist.

    Raises:
        ValueError: The file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._best = _Times.validate_json(path.read_bytes()) if path.exists() else {}
        except ValidationError as error:
            raise ValueError(f"{path} does not hold the best times of this benchmark; delete it") from error

    def slow_operations(self, run: Run) -> Sequence[SlowOperation]:
        """Return the hand-written operations of *run* that are more than 15 % above their best time."""
        found = (
            SlowOperation(name, microseconds, self._best[key])
            for key, name, microseconds in _hand_written(run)
            if key in self._best
        )
        return [each for each in found if each.microseconds > each.best * (1 + MOST_ABOVE_BEST)]

    def record(self, run: Run) -> None:
        """Keep the times of *run* that are better than those in the file, or new."""
        for key, _, microseconds in _hand_written(run):
            self._best[key] = min(microseconds, self._best.get(key, microseconds))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(_Times.dump_json(dict(sorted(self._best.items())), indent=1) + b"\n")


def _hand_written(run: Run) -> Iterator[tuple[str, str, float]]:
    """Yield the key, the name and the microseconds of each hand-written operation."""
    machine = f"{platform.node()} ({platform.machine()}, {os.cpu_count()} processors)"
    for database in run.databases:
        for row in database.rows:
            if row.microseconds is not None:
                operation = f"{database.name} {database.version}, {row.name}"
                yield f"{machine}, Python {run.python}, {operation}", operation, row.microseconds
