"""The choice of what to measure, as the command line makes it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.databases import DATABASES
from benchmarks.quietness import cache_file

__all__ = ["Choice", "choice_of"]

_ROUNDS = 7  # a bar is compared with the median of as many
_FEW_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to measure, and whether to publish it.

    Attributes:
        databases: The names of the databases.
        rounds: The number of rounds.
        only: Parts of the names of operations; all operations if it is empty.
        is_quick: Whether to leave out what takes minutes.
        is_shown_only: Whether the results are shown and never written.
        is_redrawn: Whether to measure nothing, and to write the page from the published results.
        best_times: The file with the best hand-written times of this machine.
    """

    databases: Sequence[str] = tuple(DATABASES)
    rounds: int = _ROUNDS
    only: Sequence[str] = ()
    is_quick: bool = False
    is_shown_only: bool = False
    is_redrawn: bool = False
    best_times: Path

    @property
    def is_published(self) -> bool:
        """Whether the results are to be published: nothing is left out, neither operations nor databases nor rounds."""
        is_whole = set(self.databases) == set(DATABASES) and not self.only and not self.is_quick
        return is_whole and self.rounds >= _ROUNDS and not self.is_shown_only

    def includes(self, operation: str) -> bool:
        """Tell whether an operation is to be measured."""
        return not self.only or any(part in operation for part in self.only)


def choice_of(arguments: Sequence[str], description: str | None) -> Choice:
    """Return the choice that command-line arguments make, or leave with a message about what is wrong with them."""
    parser = argparse.ArgumentParser(prog="hatch run bench", description=description)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes, with 3 rounds")
    parser.add_argument("--database", action="append", choices=tuple(DATABASES), help="on this one alone")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="operations with this in their name"
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how many; {_ROUNDS} unless it is given, and fewer are not published"
    )
    parser.add_argument("--no-publish", action="store_true", help="show the results and write none")
    parser.add_argument(
        "--best-times",
        type=Path,
        default=cache_file(),
        metavar="FILE",
        help="the best hand-written times of this machine (default: %(default)s)",
    )
    parser.add_argument(
        "--redraw", action="store_true", help="measure nothing, and write the page from the published results"
    )
    given = parser.parse_args(arguments)
    return Choice(
        databases=given.database or tuple(DATABASES),
        rounds=given.rounds or (_FEW_ROUNDS if given.quick else _ROUNDS),
        only=given.only,
        is_quick=given.quick,
        is_shown_only=given.no_publish,
        is_redrawn=given.redraw,
        best_times=given.best_times,
    )
