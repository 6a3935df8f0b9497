"""Connections to SQLite that leave nothing behind: no lock, no thread, no open file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import weakref
from functools import partial
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from layered_backend.dialects.connecting import opened, thread_ends
from layered_backend.dialects.single_trip import SingleTripConnection

__all__ = ["LockReleasingConnection", "connect_and_leave_nothing", "remember_opened", "stop_opened"]


class LockReleasingConnection(sqlite3.Connection):
    """A connection whose `close` gives up its locks at once.

    Python's own leaves a connection open while one of its cursors has rows to fetch (python/cpython#135117), and with it
    the transaction and its write lock. A task that was cancelled between a query and the fetch of its rows keeps such a
    cursor alive, in the traceback of its error, for as long as somebody has the task.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*args, **options)

    def cursor(self, *args: Any, **options: Any) -> Any:
        cursor: sqlite3.Cursor = super().cursor(*args, **options)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        cursors, self._cursors = self._cursors, WeakSet()  # a second close has none left
        for cursor in cursors:
            cursor.close()
        super().close()


def connect_and_leave_nothing(
    dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]
) -> SingleTripConnection:
    """Have aiosqlite connect as `_connect` does, and each statement be one trip to its thread."""
    return SingleTripConnection(dialect.loaded_dbapi, await_only(_connect(dialect, *args, **options)))


async def _connect(dialect: Dialect, *args: Any, **options: Any) -> Any:
    """Connect, and leave neither a thread nor an open file where that fails or is cancelled.

    aiosqlite only tells the thread to end. It then answers to an event loop that may be closed by now, and dies with a
    traceback on standard error; and it forgets the file that it has opened meanwhile.
    """
    aiosqlite: Any = import_module("aiosqlite")
    connection = aiosqlite.connect(*args, **options)
    thread: threading.Thread = connection._thread  # as SQLAlchemy reaches it, and for the same reason:
    thread.daemon = True  # a connection that is never closed does not keep the process alive
    connection.stop = partial(_stop_once, dialect, weakref.ref(connection))
    try:
        return await opened(dialect, connection.__aenter__(), lambda connection: connection.stop())
    except asyncio.CancelledError:
        raise
    except BaseException:
        thread.join(timeout=5)  # seconds; it has nothing left to do
        raise


def _stop_once(dialect: Dialect, reference: weakref.ref[Any]) -> Any:
    """Stop a connection of aiosqlite, unless that is done: nothing would ever answer a second request.

    SQLAlchemy asks twice, once politely and once by force, when a task is cancelled again while it closes a connection;
    the task that awaits the second answer was then destroyed in mid-wait, which asyncio logs as an error.
    """
    connection = reference()
    if connection is None or not connection._running:
        return None
    thread_ends(dialect, connection._thread)
    kind: Any = connection.__class__
    return kind.stop(connection)


_opened: WeakKeyDictionary[Engine, WeakSet[Any]] = WeakKeyDictionary()
"""The connections of aiosqlite, each of which is a thread that must be told to end."""


def remember_opened(engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Remember a connection of aiosqlite, for `stop_opened`."""
    _opened.setdefault(engine, WeakSet()).add(record.driver_connection)


def stop_opened(engine: Engine) -> None:
    """End the threads of *engine*'s connections, whose event loop is closed."""
    for connection in _opened.pop(engine, ()):
        # In a thread without an event loop: aiosqlite would leave a future behind in the running one.
        thread = threading.Thread(target=connection.stop)
        thread.start()
        thread.join()
        connection._thread.join(timeout=2)  # seconds; it has nothing left to do, unless it was left in mid-statement
