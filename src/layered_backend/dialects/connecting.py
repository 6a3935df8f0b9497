"""Opening connections in spite of cancellation, and replacing those that were lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = ["opened", "replace_lost_connections"]

_RESTS = "layered_backend_rests_since"
_TRUSTED = 0.1  # seconds

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


def replace_lost_connections(engine: Engine) -> None:
    """Have *engine*'s pool ask a connection that has rested for an answer, before it lends it.

    The server may have been restarted meanwhile. One that was in use a moment ago is trusted, as asking costs a round
    trip; where it is lost all the same, the request that finds out gets a 503, and the pool begins anew.
    """
    event.listen(engine, "checkin", _remember_rest)
    event.listen(engine, "checkout", partial(_replace_lost, engine))


def _remember_rest(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RESTS] = time.monotonic()


def _replace_lost(
    engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
) -> None:
    since = record.info.pop(_RESTS, None)
    if since is not None and time.monotonic() - since > _TRUSTED and not _answers(engine, connection):
        raise InvalidatePoolError  # the others are as old


def _answers(engine: Engine, connection: DBAPIConnection) -> bool:
    try:
        return engine.dialect.do_ping(connection)
    except (engine.dialect.loaded_dbapi.Error, OSError):
        return False
