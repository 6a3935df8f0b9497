"""aiosqlite's undocumented names, and how it and the standard library's sqlite3 word their own errors.

The thread of a connection is a guarantee: no connection that fails, is cancelled or is lost leaves one behind. Reaching
the thread past the documented methods is an acceleration; see `layered_backend.upstream.sqlalchemy.aiosqlite_adapter`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Dialect

from layered_backend.memoization import unique
from layered_backend.upstream.connecting import opened, require_creator, thread_ends
from layered_backend.upstream.verification import Package, Undocumented

__all__ = [
    "PACKAGE",
    "connect",
    "connect_cleanly",
    "cursor_trip_uses",
    "execute_in_thread",
    "is_refused_value",
    "join_thread",
    "leave_to_thread",
    "open_connection",
    "sqlite_connection",
    "verify",
]

T = TypeVar("T")

PACKAGE = Package("aiosqlite", "0.22.1")


def verify() -> None:
    """Check what the clean end of connections rests on.

    Raises:
        UnsupportedVersionError: The installed release keeps the thread of a connection elsewhere.
    """
    PACKAGE.require(*_uses("_thread", "stop"))


def cursor_trip_uses() -> tuple[Undocumented, ...]:
    """Return what `execute_in_thread`, `leave_to_thread`, `open_connection` and `sqlite_connection` use."""
    return _uses("_tx", "_connection") + _uses("_execute", parameters=("fn", "args"))


def _uses(*names: str, parameters: tuple[str, ...] = ()) -> tuple[Undocumented, ...]:
    unopened = import_module("aiosqlite").connect(":memory:")  # which has a thread, and has not started it
    return tuple(Undocumented(unopened, name, parameters) for name in names)


def connect(dialect: Dialect, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
    """Connect as aiosqlite's `connect` does, and leave neither a thread nor an open file if that fails or is cancelled.

    aiosqlite only tells the thread to end. It then answers to an event loop that may be closed by now, and dies with a
    traceback on standard error; and it forgets the file that it has opened meanwhile.

    Uses `Connection._thread`, as nothing documented leads to the thread; without it, a connection that is never closed
    would keep the process alive, and one that fails would leave its thread for a moment.
    """
    connection: Any = import_module("aiosqlite").connect(*args, **options)
    thread: threading.Thread = connection._thread
    thread.daemon = True  # as SQLAlchemy has it
    connection._of_dialect = dialect
    connection.__class__ = _stopped_once(connection.__class__)
    return _connected(dialect, connection, thread)


def connect_cleanly(dialect: Dialect, options: dict[str, Any]) -> None:
    """Have the *options* of a connection of SQLAlchemy's own adapter say that `connect` opens it.

    Uses `async_creator_fn`, as `layered_backend.upstream.connecting.connect_uninterrupted` does. Without it a connection that
    fails or is cancelled would leave its thread behind.

    Raises:
        UnsupportedVersionError: SQLAlchemy's adapter does not know it.
    """
    require_creator(dialect)
    options.setdefault("async_creator_fn", partial(connect, dialect))


async def _connected(dialect: Dialect, connection: Any, thread: threading.Thread) -> object:
    try:
        return await opened(dialect, connection.__aenter__(), lambda connection: connection.stop())
    except asyncio.CancelledError:
        raise
    except BaseException:
        thread.join(timeout=5)  # seconds; it has nothing left to do
        raise


class _StoppedOnce:
    """Stops a connection of aiosqlite, unless that is done: nothing would ever answer a second request.

    SQLAlchemy asks twice, once politely and once by force, when a task is cancelled again while it closes a connection;
    the task that awaits the second answer was then destroyed in mid-wait, which asyncio logs as an error.

    It is a base of the connection's class: aiosqlite calls `stop` in `__del__` too, where nothing else leads to the connection.
    """

    _of_dialect: Dialect
    _thread: threading.Thread
    _is_stopped = False

    def stop(self) -> Any:
        if self._is_stopped:
            return None
        self._is_stopped = True
        thread_ends(self._of_dialect, self._thread)
        aiosqlites: Any = super()
        return aiosqlites.stop()


@unique
def _stopped_once(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (_StoppedOnce, kind), {})


def join_thread(connection: Any) -> None:
    """Wait for the end of *connection*'s thread, which was told to end.

    Uses `Connection._thread`; see `connect`. Without it, the thread might answer to an event loop that is closed.
    """
    connection._thread.join(timeout=2)  # seconds; it has nothing left to do, unless it was left in mid-statement


def execute_in_thread(connection: Any, work: Callable[..., T], *args: Any) -> Awaitable[T]:
    """Return what awaits *work* in *connection*'s thread.

    Uses `Connection._execute`: each documented method is one trip to the thread for one step of a statement. Without it a
    statement takes four trips.
    """
    execution: Awaitable[T] = connection._execute(work, *args)
    return execution


def leave_to_thread(connection: Any, work: Callable[[], object]) -> None:
    """Leave *work* to *connection*'s thread, which does it before whatever it is told next; nobody is told of the end.

    Uses `Connection._tx`, the queue of the thread: what is documented is awaited. Without it the end of a transaction that
    has only read is awaited.
    """
    connection._tx.put_nowait((None, work))


def open_connection(connection: Any) -> sqlite3.Connection | None:
    """Return sqlite3's connection, None once it is closed.

    Uses `Connection._connection`: what is documented raises instead, and only for some attributes. Without it nothing can
    be run in the thread at once.
    """
    found: sqlite3.Connection | None = connection._connection
    return found


def sqlite_connection(connection: object) -> sqlite3.Connection:
    """Return sqlite3's connection, to be used in *connection*'s thread.

    Raises:
        ValueError: It is closed; the message is aiosqlite's, as SQLAlchemy knows it.
    """
    found = open_connection(connection)
    if found is None:
        raise ValueError("no active connection")
    return found


def is_refused_value(error: BaseException) -> bool:
    """Tell whether sqlite3 has refused the type of a parameter, before SQLite saw the statement.

    Uses the wording, as the class (`InterfaceError` in Python 3.11, `ProgrammingError` since) is that of other mistakes
    too; without it, such a value is an error of SQLAlchemy's and no InvalidDataError.
    """
    return isinstance(error, sqlite3.Error) and "Error binding parameter" in str(error)
