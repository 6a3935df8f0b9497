"""Opening connections in spite of cancellation, and waiting for the end of closed ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Dialect, Engine

from layered_backend.coroutines import uninterrupted
from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["connect_uninterrupted", "connections_ended", "finished", "opened", "require_creator", "thread_ends"]

_OPENING = 2.0  # seconds; a server that does not answer holds up no application that stops
_ENDING = 30.0  # seconds, as long as a statement waits for SQLite's lock

T = TypeVar("T")

# An engine alone has its dialect, which is all that the event `do_connect` says of the engine.
_unfinished: WeakKeyDictionary[Dialect, set[asyncio.Task[Any]]] = WeakKeyDictionary()
_ending: WeakKeyDictionary[Dialect, WeakSet[threading.Thread]] = WeakKeyDictionary()


def connect_uninterrupted(
    dialect: Dialect,
    options: dict[str, Any],
    connect: Callable[..., Awaitable[T]],
    discard: Callable[[T], object],
) -> None:
    """Have the *options* of a connection say that *connect* opens it to the end, even if the caller is cancelled meanwhile.

    Uses `async_creator_fn`, the argument in which SQLAlchemy's adapters hand on `create_async_engine(async_creator=)`;
    that itself gets neither the URL nor the arguments. Without it, connections would be opened as `opened` tells.

    Raises:
        UnsupportedVersionError: SQLAlchemy's adapter does not know it.
    """
    require_creator(dialect)
    options.setdefault("async_creator_fn", partial(_connect, dialect, connect, discard))


def require_creator(dialect: Dialect) -> None:
    """Check that the adapter of *dialect*'s driver hands on `async_creator_fn`.

    Raises:
        UnsupportedVersionError: It does not.
    """
    connect: Any = dialect.loaded_dbapi.connect
    SQLALCHEMY.require(Undocumented(connect.__code__, "async_creator_fn"))


async def _connect(
    dialect: Dialect,
    connect: Callable[..., Awaitable[T]],
    discard: Callable[[T], object],
    *args: Any,
    **options: Any,
) -> T:
    return await opened(dialect, connect(*args, **options), discard)


async def opened(dialect: Dialect, connecting: Awaitable[T], discard: Callable[[T], object]) -> T:
    """Return what *connecting* opens; when the caller is cancelled meanwhile, let it finish and *discard* the connection.

    Drivers do not expect to be cut off while they connect: aiosqlite forgets the file that it has opened, psycopg its
    socket, asyncpg a future that fails later and is then reported as an exception that nobody retrieved. asyncmy waits by
    `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes at the same moment as the answer.
    `connections_ended` waits for the opening. Without it a cancelled task would go on, or leave a connection, a thread or
    a report of asyncio's behind.
    """
    task = asyncio.ensure_future(connecting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _wait_at_end(dialect, task)
        task.add_done_callback(partial(_discard, discard))
        raise


async def finished(dialect: Dialect, work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns, which needs a connection of its own, and wait for it even if the caller is cancelled.

    `connections_ended` waits for it too. Without it a second cancellation would cut off what is done because of the first.

    Raises:
        asyncio.CancelledError: The caller was cancelled; the work is done.
    """

    async def registered() -> T:
        task = asyncio.current_task()
        assert task is not None
        _wait_at_end(dialect, task)
        return await work

    return await uninterrupted(registered())


def _wait_at_end(dialect: Dialect, task: asyncio.Task[Any]) -> None:
    unfinished = _unfinished.setdefault(dialect, set())
    unfinished.add(task)
    task.add_done_callback(unfinished.discard)


def _discard(discard: Callable[[T], object], task: asyncio.Task[T]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())


def thread_ends(dialect: Dialect, thread: threading.Thread) -> None:
    """Have `connections_ended` wait for *thread*, which a connection of *dialect*'s engine has told to end."""
    _ending.setdefault(dialect, WeakSet()).add(thread)


async def connections_ended(engine: Engine) -> None:
    """Wait until nothing is left of *engine*'s connections that were closed, given up while they opened, or `finished`.

    A driver's thread that outlives the event loop dies with a traceback on standard error when it answers to the loop. It may
    be busy with a statement whose task was cancelled. Without it an application that ends could print such a traceback.
    """
    unfinished = _unfinished.get(engine.dialect)
    if unfinished:
        _, late = await asyncio.wait(unfinished, timeout=_OPENING)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    deadline = time.monotonic() + _ENDING
    threads = _ending.get(engine.dialect, ())
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:  # noqa: ASYNC110  # threads set no event
        await asyncio.sleep(0.001)
