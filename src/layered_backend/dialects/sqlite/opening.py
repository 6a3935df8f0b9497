"""Connections to SQLite that leave nothing behind: no lock, no thread, no open file."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend.upstream import aiosqlite
from layered_backend.upstream.sqlalchemy import aiosqlite_adapter

__all__ = ["LockReleasingConnection", "connect", "remember_opened", "stop_opened"]


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


def connect(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> object:
    """Have aiosqlite connect without leaving anything behind, and each statement be one trip to its thread if it can."""
    if aiosqlite_adapter.is_offered():
        return aiosqlite_adapter.connected(dialect.loaded_dbapi, aiosqlite.connect(dialect, *args, **options))
    aiosqlite.connect_cleanly(dialect, options)
    return None


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
        aiosqlite.join_thread(connection)
