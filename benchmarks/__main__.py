"""Measure the library against SQLAlchemy by hand and against other libraries.

Without options everything is measured, which takes a quarter of an hour, and the results are written to
benchmarks/results.json and docs/performance.md. With some, they are only shown.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console

from benchmarks.databases import DATABASES, ServerMissingError
from benchmarks.publishing import publish, stored_results
from benchmarks.results import Results, Row
from benchmarks.running import Choice, run
from benchmarks.tables import line_of, tables_of

__all__ = ["main"]

_console = Console(width=None if sys.stdout.isatty() else 200)


def main() -> None:
    """Measure as the command line says."""
    given = _arguments()
    if given.redraw:
        publish(stored_results())
        return
    choice = Choice(
        databases=given.database or tuple(DATABASES),
        rounds=given.rounds or (3 if given.quick else 7),
        only=given.only,
        is_quick=given.quick,
    )
    try:
        results = asyncio.run(run(choice, _tell))
    except ServerMissingError as error:
        sys.exit(f"{error}; `--database SQLite` measures without it")
    _show(results)
    if choice.is_everything:
        publish(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes, with 3 rounds")
    parser.add_argument("--database", action="append", choices=tuple(DATABASES), help="on this one alone")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="operations with this in their name"
    )
    parser.add_argument("--rounds", type=int, help="how many; 7 unless it is given")
    parser.add_argument(
        "--redraw", action="store_true", help="measure nothing, and write the page from the last results"
    )
    return parser.parse_args()


def _tell(database: str, row: Row) -> None:
    print(line_of(database, row), flush=True)


def _show(results: Results) -> None:
    for database in results.databases:
        for table in tables_of(database):
            _console.print(table)
    missed = sum(len(row.missed) for database in results.databases for row in database.rows)
    _console.print(f"{missed} bars are missed." if missed else "Every bar is met.")


if __name__ == "__main__":
    main()
