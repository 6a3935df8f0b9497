"""Running to the end what must not be cut in two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["uninterrupted"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


async def uninterrupted(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* in a task of its own and wait until it is done, however often the caller is cancelled meanwhile.

    A COMMIT that is cut off may be carried out all the same, and its caller would take it for undone. A cancellation is
    therefore kept, and raised when the coroutine has ended.

    Raises:
        asyncio.CancelledError: The caller was cancelled; what the coroutine raised, if it did, is logged.
    """
    caller = asyncio.current_task()
    name = f"end of the unit of work of {caller.get_name()}" if caller else None
    task = asyncio.create_task(coroutine, name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        _logger.error("a unit of work failed to end well while its task was being cancelled", exc_info=failure)
    raise cancelled
