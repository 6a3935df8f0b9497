"""How much memory a process of its own takes while it does something: `python -m benchmarks.memory URL WHAT CONTENDER`.

Prints the MiB by which it grows at most, from where it stands when it has done the same with a few rows.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from benchmarks.contenders import ALONE, ENTITIES, HAND, PROJECTION
from benchmarks.shop import item_values
from benchmarks.stage import MILLION, Stage, opened_at

__all__ = ["INSERTING", "STREAMING", "growth_of"]

Stream = Callable[[], AsyncGenerator[Any]]
Insert = Callable[[Iterator[dict[str, Any]]], Awaitable[None]]

_FEW = 5_000  # rows to begin with: connections are open then, statements built, caches filled
_SAMPLED = 5_000  # rows, after which memory is looked at again
_STATM = Path("/proc/self/statm")

STREAMING: Mapping[str, Callable[[Stage], Stream]] = {
    HAND: lambda stage: stage.by_hand.stream,
    ENTITIES: lambda stage: stage.entities.stream,
    PROJECTION: lambda stage: stage.projections.stream,
    ALONE: lambda stage: stage.alone.stream,
}
INSERTING: Mapping[str, Callable[[Stage], Insert]] = {
    HAND: lambda stage: stage.by_hand.insert,
    ENTITIES: lambda stage: stage.entities.insert,
}


async def growth_of(url: str, what: str, contender: str) -> float:
    """Return the MiB that a new process prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, url, what, contender, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{what} of {contender} has failed"
    return float(printed)


class _Memory:
    """What the process takes, and took at most."""

    def __init__(self) -> None:
        gc.collect()
        self._first = self._most = _resident()
        self._peak = _peak()

    def look(self) -> None:
        """Look at what it takes now."""
        self._most = max(self._most, _resident())

    @property
    def growth(self) -> float:
        """By how many MiB it has grown at most."""
        self.look()
        peak = _peak()
        most = max(self._most, peak) if peak > self._peak else self._most  # an older peak says nothing
        return (most - self._first) / 2**20


def _resident() -> int:
    """Return the bytes of memory that the process takes; where the system does not tell, what it took at most."""
    return int(_STATM.read_text().split()[1]) * resource.getpagesize() if _STATM.exists() else _peak()


def _peak() -> int:
    """Return the bytes of memory that the process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def _stream(stream: Stream, most: int) -> float:
    memory, count = _Memory(), 0
    async with aclosing(stream()) as items:
        async for _ in items:
            count += 1
            if count % _SAMPLED == 0:
                memory.look()
            if count == most:
                break
    assert count == most, f"{count} rows of {most}"
    return memory.growth


async def _insert(insert: Insert, count: int, prefix: str) -> float:
    memory = _Memory()

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(count):
            if number % _SAMPLED == 0:
                memory.look()
            yield {**item_values(number, prefix), "note": "a note"}

    await insert(rows())
    return memory.growth


async def _measured(url: str, what: str, contender: str) -> float:
    async with opened_at(url) as stage:
        if what == "stream":
            await _stream(STREAMING[contender](stage), _FEW)
            return await _stream(STREAMING[contender](stage), MILLION)
        await _insert(INSERTING[contender](stage), _FEW, "few")
        return await _insert(INSERTING[contender](stage), MILLION, "many")


if __name__ == "__main__":
    print(asyncio.run(_measured(*sys.argv[1:])))
