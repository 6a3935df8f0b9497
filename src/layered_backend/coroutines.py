"""Running coroutines: without an event loop, and to the end whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar, cast

from layered_backend.errors import UnitOfWorkError

__all__ = ["at_once", "drive", "uninterrupted"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


def drive(awaitable: Awaitable[T]) -> T:
    """Run *awaitable* to its end without an event loop: over a plain `Engine` it never suspends.

    Raises:
        UnitOfWorkError: It awaits something other than the database.
    """
    coroutine: Coroutine[Any, Any, T] = (
        cast("Coroutine[Any, Any, T]", awaitable) if isinstance(awaitable, Coroutine) else _awaited(awaitable)
    )
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    except RuntimeError as error:
        if str(error) != "no running event loop":  # Python's own words, of asyncio.get_running_loop
            raise
    coroutine.close()
    name = getattr(coroutine, "__qualname__", "the coroutine")
    raise UnitOfWorkError(
        f"{name} awaits something other than the database (a sleep, a request, a lock), "
        "which needs an event loop; write `async with` for the unit of work"
    )


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def uninterrupted(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* in a task of its own and wait until it is done, however often the caller is cancelled meanwhile.

    A COMMIT that is cut off may be carried out all the same, and its caller would take it for undone. A cancellation is
    therefore kept, and raised when the coroutine has ended.

    Raises:
        asyncio.CancelledError: The caller was cancelled; what the coroutine raised, if it did, is logged.
    """
    is_over = _Gate()
    task = _started(_then_open(is_over, coroutine))
    if sys.version_info < (3, 12):  # where it may be cancelled before it has begun
        task.add_done_callback(lambda _: _close(coroutine, is_over))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await is_over
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        _logger.error("a unit of work failed to end well while its task was being cancelled", exc_info=failure)
    raise cancelled


async def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine*, which should have nothing to wait for, without a task; if it has, the rest is `uninterrupted`."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    return await uninterrupted(_awaited(_Rest(coroutine, awaited)))


class _Rest(Generic[T]):
    """The rest of a coroutine that waits for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._awaited
        while True:
            try:
                result = yield awaited
                resume: Any = partial(self._coroutine.send, result)
            except BaseException as error:  # noqa: BLE001  # it is the coroutine's
                resume = partial(self._coroutine.throw, error)
            try:
                awaited = resume()
            except StopIteration as stop:
                return cast("T", stop.value)


class _Gate(asyncio.Future[None]):
    """A future that a task waits for until it is opened; a task that is cancelled meanwhile learns of it then."""

    def cancel(self, msg: object = None) -> bool:
        return False

    def open(self) -> None:
        if not self.done():
            self.set_result(None)


async def _then_open(gate: _Gate, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine*; the gate opens before the task's own callbacks are called, a turn of the event loop earlier."""
    try:
        return await coroutine
    finally:
        gate.open()


def _close(coroutine: Coroutine[Any, Any, object], gate: _Gate) -> None:
    """Make good for a task that was cancelled before it began."""
    coroutine.close()
    gate.open()


def _started(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return a task that has come as far as it could without waiting, where Python can do that."""
    caller = asyncio.current_task()
    name = f"end of the unit of work of {caller.get_name()}" if caller else None
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), name=name, eager_start=True)
    return asyncio.create_task(coroutine, name=name)
