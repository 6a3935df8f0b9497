"""The output of a command, and its end: bars on a terminal, lines in a pipe, one line for an error."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.tree import Tree

from layered_backend.cli.target import TargetError
from layered_backend.errors import LayeredError, MigrationSetupError, SeedPlanError
from layered_backend.seeding import SeedProgress, SeedReport

__all__ = [
    "FAILED",
    "WRONG_USAGE",
    "errors_shown",
    "output",
    "progress_shown",
    "show_error",
    "show_lines",
    "show_note",
    "show_report",
    "show_tree",
]

FAILED, WRONG_USAGE = 1, 2  # exit statuses

Tell = Callable[[SeedProgress], None]


def output(*, errors: bool = False) -> Console:
    """Return the console of standard output, or of standard error, as it is now."""
    return Console(stderr=errors, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_shown(*, wanted: bool = True) -> Generator[Tell | None]:
    """Show a bar for each seeder while the block runs, on standard error, where that is a terminal.

        with progress_shown() as progress:
            await seeds.run(progress=progress)

    Args:
        wanted: Whether to show any.

    Returns:
        What a run is to tell of its progress; None where nothing is shown.
    """
    console = output(errors=True)
    if not (wanted and console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress).tell


class _Bars:
    """A bar for each seeder, from its beginning on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def tell(self, news: SeedProgress) -> None:
        if news.seeder not in self._tasks:
            self._tasks[news.seeder] = self._progress.add_task(news.seeder, total=None)
        total = news.rows if news.is_done else news.total
        self._progress.update(self._tasks[news.seeder], completed=news.rows, total=total)


def show_lines(lines: Iterable[object]) -> None:
    """Print a line for each of *lines*."""
    console = output()
    for line in lines:
        console.print(str(line))


def show_note(note: str) -> None:
    """Print *note* on standard error, beside what a file or another program gets."""
    output(errors=True).print(note)


def show_report(report: SeedReport, *, changes: bool, debug: bool) -> None:
    """Print a line for each seeder, each change if asked to, and the tracebacks of errors if asked to."""
    console = output()
    for result in report.results:
        console.print(str(result))
        for change in result.changes if changes else ():
            console.print(f"  {change}")
        if debug and result.error is not None:
            console.print("".join(traceback.format_exception(result.error)))
    if report.error is not None:
        show_error(report.error, debug=debug)


def show_error(error: BaseException, *, debug: bool) -> None:
    """Print what went wrong, in one paragraph on standard error, and the traceback if asked to."""
    console = output(errors=True)
    if debug:
        console.print("".join(traceback.format_exception(error)))
    console.print(f"Error: {error}")


def show_tree(tree: Tree) -> None:
    """Print *tree*."""
    output().print(tree)


@contextmanager
def errors_shown(*, debug: bool) -> Generator[None]:
    """Print errors instead of raising them, and end the process with the status that tells what kind they are of."""
    try:
        yield
    except (SeedPlanError, MigrationSetupError, TargetError) as error:
        show_error(error, debug=debug)
        raise typer.Exit(WRONG_USAGE) from error
    except (LayeredError, ModuleNotFoundError) as error:
        show_error(error, debug=debug)
        raise typer.Exit(FAILED) from error
