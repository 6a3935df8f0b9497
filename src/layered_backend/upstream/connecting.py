"""Opening connections in spite of cancellation, and waiting for the end of closed ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Dialect, Engine

__all__ = ["connect_uninterrupted", "connections_ended", "opened", "thread_ends"]

_OPENING = 2.0  # seconds; a server that does not answer holds up no application that stops
_ENDING = 30.0  # seconds, as long as a statement waits for SQLite's lock

T = TypeVar("T")

# An engine alone has its dialect, which is all that the event `do_connect` says of the engine.
_given_up: WeakKeyDictionary[Dialect, set[asyncio.Task[Any]]] = WeakKeyDictionary()
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
    """
    options.setdefault("async_creator_fn", partial(_connect, dialect, connect, discard))


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
        given_up = _given_up.setdefault(dialect, set())
        given_up.add(task)
        task.add_done_callback(given_up.discard)
        task.add_done_callback(partial(_discard, discard))
        raise


def _discard(discard: Callable[[T], object], task: asyncio.Task[T]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())


def thread_ends(dialect: Dialect, thread: threading.Thread) -> None:
    """Have `connections_ended` wait for *thread*, which a connection of *dialect*'s engine has told to end."""
    _ending.setdefault(dialect, WeakSet()).add(thread)


async def connections_ended(engine: Engine) -> None:
    """Wait until nothing is left of *engine*'s connections that were closed, or given up while they opened.

    A driver's thread that outlives the event loop dies with a traceback on standard error when it answers to the loop. It may
    be busy with a statement whose task was cancelled. Without it an application that ends could print such a traceback.
    """
    given_up = _given_up.get(engine.dialect)
    if given_up:
        _, late = await asyncio.wait(given_up, timeout=_OPENING)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    deadline = time.monotonic() + _ENDING
    threads = _ending.get(engine.dialect, ())
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:  # noqa: ASYNC110  # threads set no event
        await asyncio.sleep(0.001)
