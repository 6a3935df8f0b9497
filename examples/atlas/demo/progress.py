"""How far the loading is: a bar on a terminal, a line for each data set elsewhere."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from examples.atlas.loading import Report


@contextmanager
def shown(console: Console) -> Generator[Report]:
    """Give the report that shows the progress on *console* while the block runs."""
    if not console.is_terminal:
        yield _line
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


def _line(data_set: str, loaded: int, total: int) -> None:
    if loaded == total:
        print(f"{data_set}: {total} rows", flush=True)


class _Bars:
    """A bar for each data set, from its first row on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, data_set: str, loaded: int, total: int) -> None:
        if data_set not in self._tasks:
            self._tasks[data_set] = self._progress.add_task(data_set, total=total)
        self._progress.update(self._tasks[data_set], completed=loaded)
