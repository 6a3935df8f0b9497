"""Measure the library against SQLAlchemy by hand and against other libraries: `hatch run bench`.

Without options it measures everything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console

from benchmarks.databases import DATABASES, ServerMissingError
from benchmarks.results import DatabaseResults, Row
from benchmarks.running import Choice, run
from benchmarks.tables import table_of

__all__ = ["main"]

_console = Console(width=None if sys.stdout.isatty() else 200)


def main() -> None:
    """Measure as the command line says."""
    choice = _choice(sys.argv[1:])
    try:
        results = asyncio.run(run(choice, _show))
    except ServerMissingError as error:
        sys.exit(str(error))
    for database in results.databases:
        _console.print(table_of(database))


def _choice(arguments: list[str]) -> Choice:
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--database", action="append", choices=tuple(DATABASES), help="one of them alone")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="operations with this in their names"
    )
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    return Choice(databases=given.database or tuple(DATABASES), rounds=given.rounds, only=given.only)


def _show(database: str, row: Row) -> None:
    _console.print(table_of(DatabaseResults(name=database, rows=[row])))


if __name__ == "__main__":
    main()
