"""What runs after the commit."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from layered_backend.session import GuardedSession, Hook, drive

__all__ = ["run_hooks"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


async def run_hooks(session: GuardedSession, hooks: Sequence[Hook]) -> None:
    """Run what was to run after the commit of *session*, in order; one that raises is logged and stops nothing."""
    for hook in hooks:
        try:
            result = hook()
            if inspect.isawaitable(result):
                await result if session.is_asynchronous else drive(_awaited(result))
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and session.is_asynchronous and _is_being_cancelled():
                raise
            _logger.exception("the on_commit hook %r failed; the commit stands", hook)


def _is_being_cancelled() -> bool:
    """Tell whether it is the running task that is cancelled, not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
