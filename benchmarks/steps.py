"""The steps on the way: how many functions of the library run for one warm operation, and in how many files.

`python -m benchmarks.steps` prints a table for SQLite and PostgreSQL. Each operation is a whole unit of work: the block is
entered, one call is made, and the block ends. A step is a call of a Python function of the library, or the resumption of
one of its generators or coroutines; a function that runs twice is two calls and one function. Comprehensions are part of
the function that they are in.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

from sqlalchemy.ext.asyncio import create_async_engine

import layered_backend
from benchmarks.databases import DATABASES
from benchmarks.shop import Item, ShopUnitOfWork, item_values, prepare
from layered_backend import Database, PageParams

__all__ = ["OPERATIONS", "Steps", "main"]

_LIBRARY = Path(layered_backend.__file__).parent
_EXPRESSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}  # functions to some Pythons, to no reader
_WARM_UP = 5  # calls that fill the caches, before the one that counts


async def _get(uow: ShopUnitOfWork) -> None:
    await uow.items.get(17)


async def _create(uow: ShopUnitOfWork) -> None:
    await uow.items.create(item_values(next(_numbers), "new"))


async def _page(uow: ShopUnitOfWork) -> None:
    await uow.items.page(PageParams(page=2, size=50))


async def _upsert(uow: ShopUnitOfWork) -> None:
    await uow.items.upsert(item_values(17), on=Item.name)


_numbers = iter(range(1_000_000, 2_000_000))
OPERATIONS: Mapping[str, Callable[[ShopUnitOfWork], Awaitable[None]]] = {
    "get": _get,
    "create": _create,
    "page": _page,
    "upsert": _upsert,
}


@dataclass
class Steps:
    """The functions of the library that have run.

    Attributes:
        calls: How often each has run, by its code.
    """

    calls: Counter[CodeType] = field(default_factory=Counter[CodeType])

    @property
    def functions(self) -> int:
        """The number of different functions."""
        return len(self.calls)

    @property
    def files(self) -> int:
        """The number of files that they are in."""
        return len({code.co_filename for code in self.calls})

    @property
    def lines(self) -> Sequence[str]:
        """Each function as its file, its name, and how often it has run."""
        found = (
            (str(Path(code.co_filename).relative_to(_LIBRARY)), code.co_qualname, times)
            for code, times in self.calls.items()
        )
        return [f"{path}  {name}  {times}" for path, name, times in sorted(found)]


class _Recorder:
    """Hears of each call in each thread that is started under it, and counts while it is told to."""

    def __init__(self) -> None:
        self.steps: Steps | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or self.steps is None or code.co_name in _EXPRESSIONS:
            return
        if code.co_filename.startswith(str(_LIBRARY)):
            self.steps.calls[code] += 1


@contextmanager
def _recorder() -> Generator[_Recorder]:
    recorder = _Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def _counted(database: Database) -> Mapping[str, Steps]:
    """Return the steps of each operation on *database*, which is empty and not open yet."""
    engine = create_async_engine(database.url)
    try:
        await prepare(engine)
    finally:
        await engine.dispose()
    counts: dict[str, Steps] = {}
    with _recorder() as recorder:
        for name in OPERATIONS:
            for _ in range(_WARM_UP):
                await _run(database, name)
            recorder.steps = counts[name] = Steps()
            await _run(database, name)
            recorder.steps = None
    return counts


async def _run(database: Database, name: str) -> None:
    async with ShopUnitOfWork(database) as uow:
        await OPERATIONS[name](uow)


def main() -> None:
    """Print the table, and with --list the functions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--database", action="append", choices=tuple(DATABASES), help="on this one alone")
    parser.add_argument("--list", action="append", default=[], choices=tuple(OPERATIONS), help="name its functions")
    parser.add_argument("--deferred-begin", action="store_true", help="with Database(url, deferred_begin=True)")
    given = parser.parse_args()
    for name in given.database or DATABASES:
        counts = asyncio.run(_counted_on(name, is_deferred=given.deferred_begin))
        for operation, steps in counts.items():
            print(
                f"{name:10}  {operation:6}  {steps.functions:3} functions in {steps.files:2} files, "
                f"{steps.calls.total():3} calls"
            )
        for operation in given.list:
            print(f"\n{name}, {operation}:", *counts[operation].lines, "", sep="\n")


async def _counted_on(name: str, *, is_deferred: bool) -> Mapping[str, Steps]:
    async with (
        DATABASES[name]() as url,
        Database(url, deferred_begin=True) if is_deferred else Database(url) as database,
    ):
        return await _counted(database)


if __name__ == "__main__":
    main()
