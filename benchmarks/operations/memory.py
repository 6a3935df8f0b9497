"""The memory that a million rows need, each time in a process of its own, and measured once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from benchmarks.bars import bars_of
from benchmarks.memory import INSERTING, STREAMING, growth_of
from benchmarks.results import Row, cells_of
from benchmarks.stage import Stage

__all__ = ["MEMORY_ROWS", "memory_rows"]

_STREAM = "stream 1,000,000 rows, growth"
_INSERT = "insert 1,000,000 rows from a generator, growth"
MEMORY_ROWS = (_STREAM, _INSERT)


async def memory_rows(stage: Stage, includes: Callable[[str], bool]) -> AsyncGenerator[Row]:
    """Yield the rows that are wanted."""
    if includes(_STREAM):
        await stage.grow()
        yield await _row(stage, _STREAM, "stream", tuple(STREAMING), _keep)
    if includes(_INSERT):
        await stage.restock()
        yield await _row(stage, _INSERT, "insert", tuple(INSERTING), stage.restock)


async def _keep() -> None:
    """Leave the rows as they are."""


async def _row(
    stage: Stage, name: str, what: str, contenders: tuple[str, ...], restore: Callable[[], Awaitable[None]]
) -> Row:
    url = stage.database.url.render_as_string(hide_password=False)
    growths: dict[str, list[float]] = {}
    for contender in contenders:
        growths[contender] = [await growth_of(url, what, contender)]
        await restore()
    cells = cells_of(growths, bars_of(name, stage.dialect))
    return Row(section="Memory for a million rows", name=name, measure="mebibytes", microseconds=None, cells=cells)
