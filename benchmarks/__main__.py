"""Measure the library against hand-written SQLAlchemy and against other libraries.

Without options everything is measured, which takes half an hour for each Python, and on a quiet machine the results are
written to benchmarks/results.json and docs/performance.md. With options that leave something out they are only shown.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.choice import choice_of
from benchmarks.databases import ServerMissingError
from benchmarks.publishing import publish, stored_results
from benchmarks.quietness import HIGHEST_LOAD, BestTimes, SlowOperation, load_once_quiet
from benchmarks.results import Row, Run
from benchmarks.tables import line_of, tables_of

__all__ = ["main"]

_console = Console(width=None if sys.stdout.isatty() else 200)


def main() -> None:
    """Measure as the command line says, and publish a whole run that a quiet machine has made."""
    choice = choice_of(sys.argv[1:], __doc__)
    if choice.is_redrawn:
        publish(stored_results())
        return
    best = BestTimes(choice.best_times)
    if choice.is_published:
        print(f"The load must be {HIGHEST_LOAD} at most; waiting for it.", flush=True)
        load = load_once_quiet()
        if load > HIGHEST_LOAD:
            sys.exit(_busy(load))
    else:
        print(f"The load is {os.getloadavg()[0]:.2f}; figures count up to {HIGHEST_LOAD}.", flush=True)
    from benchmarks.running import run  # needs the peers, which the tests of this module do not have

    try:
        measured = asyncio.run(run(choice, _tell))
    except ServerMissingError as error:
        sys.exit(f"{error}; `--database SQLite` measures without it")
    _show(measured)
    slow = best.slow_operations(measured)
    best.record(measured)
    if choice.is_published and slow:
        sys.exit(f"Not published. {_slow(slow, best.path)}")
    if slow:
        print(_slow(slow, best.path))
    if choice.is_published:
        publish(stored_results().with_run(measured))


def _tell(database: str, row: Row) -> None:
    print(line_of(database, row), flush=True)


def _show(measured: Run) -> None:
    for table in tables_of(measured):
        _console.print(table)
    rows = [(database.name, row) for database in measured.databases for row in database.rows]
    for database, row in rows:
        for peer in row.cheaper_peers:
            print(f"{database}, {row.name}: {peer} costs less.")
    missed = sum(len(row.missed) for _, row in rows)
    print(f"{missed} bars are missed." if missed else "Every bar is met.")


def _busy(load: float) -> str:
    return (
        f"Nothing is measured: the load is {load:.2f}, and figures are published up to {HIGHEST_LOAD} only, since a busy "
        "machine flatters. End what else runs and try again, or measure with --no-publish."
    )


def _slow(slow: Sequence[SlowOperation], path: Path) -> str:
    operations = "\n".join(f"  {each}" for each in slow)
    return (
        f"The machine was not quiet; hand-written operations have been faster on it:\n{operations}\n"
        f"End what else runs and try again. If the machine or a release itself has become slower, delete {path}."
    )


if __name__ == "__main__":
    main()
