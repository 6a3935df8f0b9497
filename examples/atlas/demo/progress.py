"""How far the seeding is: a bar for each data set, on a terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from layered_backend.seeding import SeedProgress


@contextmanager
def shown(console: Console) -> Generator[Callable[[SeedProgress], None] | None]:
    """Show the progress on *console* while the block runs, if that is a terminal; give what is to be told of it."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress).tell


class _Bars:
    """A bar for each data set, from its beginning on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def tell(self, news: SeedProgress) -> None:
        if news.seeder not in self._tasks:
            self._tasks[news.seeder] = self._progress.add_task(news.seeder, total=None)
        total = news.rows if news.is_done else news.total
        self._progress.update(self._tasks[news.seeder], completed=news.rows, total=total)
