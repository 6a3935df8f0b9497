"""Opening connections in spite of cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

__all__ = ["opened"]

T = TypeVar("T")


async def opened(connecting: Coroutine[Any, Any, T], discard: Callable[[T], object]) -> T:
    """Return what *connecting* opens; when the caller is cancelled meanwhile, let it finish and *discard* the connection.

    Drivers do not expect to be cut off while they connect: aiosqlite forgets the file that it has opened, asyncpg a
    future that fails later and is then reported as an exception that nobody retrieved.
    """
    task = asyncio.ensure_future(connecting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(partial(_discard, discard))
        raise


def _discard(discard: Callable[[T], object], task: asyncio.Task[T]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())
