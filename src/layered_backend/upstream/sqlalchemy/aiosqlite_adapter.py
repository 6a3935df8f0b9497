"""An adapter of aiosqlite that makes one trip to its thread for each statement.

SQLAlchemy's own adapter makes a trip for each of cursor, statement, rows and close, and each trip wakes a thread and the
event loop. Here BEGIN goes along with the first statement too, and nobody waits for the end of a transaction that has
only read: the thread ends it before whatever comes next.

It subclasses SQLAlchemy's adapter of a connection, and implements the interface of SQLAlchemy's cursors, neither of which
is documented; nothing documented changes how a statement is sent. Without them, or without what it needs of aiosqlite,
SQLAlchemy's own adapter is used, and each transaction begins and ends as SQLAlchemy sends it.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from layered_backend.upstream import aiosqlite
from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.sqlalchemy.concurrency import await_in_greenlet
from layered_backend.upstream.verification import Undocumented

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection as _Adapter
else:  # where the class is gone, `is_offered` says so
    _module = import_module("sqlalchemy.dialects.sqlite.aiosqlite")
    _Adapter = getattr(_module, "AsyncAdapt_aiosqlite_connection", object)

__all__ = ["SingleTripConnection", "connected", "is_offered"]

_ACCELERATION = "reaching aiosqlite's thread once for each statement"

T = TypeVar("T")

_READING = ("SELECT ", "PRAGMA query_only")


@cache
def is_offered() -> bool:
    """Tell whether the installed releases have what the adapter uses; where they do not, a WARNING says so, once."""
    adapter = Undocumented(import_module("sqlalchemy.dialects.sqlite.aiosqlite"), "AsyncAdapt_aiosqlite_connection")
    uses = (
        adapter,
        Undocumented(_Adapter, "__init__", ("dbapi", "connection")),
        Undocumented(_Adapter, "cursor", ("server_side",)),
        Undocumented(_Adapter, "_handle_exception", ("error",)),
        Undocumented(_Adapter, "_connection"),
    )
    return SQLALCHEMY.offers(_ACCELERATION, *uses) and aiosqlite.PACKAGE.offers(
        _ACCELERATION, *aiosqlite.cursor_trip_uses()
    )


def connected(dbapi: object, connecting: Awaitable[Any]) -> SingleTripConnection:
    """Return the adapter of the connection that *connecting* opens, for SQLAlchemy's *dbapi* of aiosqlite."""
    return SingleTripConnection(dbapi, await_in_greenlet(connecting))


@dataclass(slots=True)
class _Outcome:
    """The result of a statement whose cursor is closed already."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    rows: Sequence[Any] = ()


class SingleTripConnection(_Adapter):
    """A connection of aiosqlite, as SQLAlchemy takes it.

    Attributes:
        due: The statements that begin the transaction, where they have not been sent yet.
    """

    __slots__ = ("_changes_before", "_is_ending", "_sends_reads", "due")

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.due: list[str] = []
        self._sends_reads = False
        self._changes_before = 0
        self._is_ending = False

    @property
    def only_reads(self) -> bool:
        """Whether the transaction has changed no row so far, not by what went past SQLAlchemy either.

        DDL that went past SQLAlchemy is not noticed, as SQLite counts changed rows only.
        """
        return self._sends_reads and self._changes == self._changes_before

    @property
    def _changes(self) -> int:
        """How many rows the connection has ever changed."""
        driver: Any = self._connection
        return driver.total_changes if aiosqlite.open_connection(driver) else 0

    def begin(self, statements: list[str]) -> None:
        """Begin a transaction by *statements*, which are sent with the first one after them."""
        self.due = statements
        self._sends_reads = True
        self._changes_before = self._changes

    def cursor(self, server_side: bool = False) -> Any:
        if not server_side:
            return _SingleTripCursor(self)
        self._sends_reads = False  # what a stream is of is not looked at
        if self.due:
            self.travel(_nothing)
        return super().cursor(server_side=True)

    def send(self, operation: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work*, which executes *operation*, as `travel` does."""
        self._sends_reads = self._sends_reads and operation.startswith(_READING)
        return self.travel(work)

    def travel(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* in the connection's thread, after what is due."""
        driver: Any = self._connection
        due = self.due
        self.due = []
        self._is_ending = False  # what comes now has an end of its own
        try:
            result: T = await_in_greenlet(aiosqlite.execute_in_thread(driver, _run, driver, due, work))
        except Exception as error:  # noqa: BLE001  # it is raised again
            if due and aiosqlite.open_connection(driver) and not driver.in_transaction:
                self.due = due  # or what comes next would be outside of a transaction
            self._handle_exception(error)
        return result

    def commit(self) -> None:
        if not self._has_ended_by(sqlite3.Connection.commit):
            super().commit()

    def rollback(self) -> None:
        if not self._has_ended_by(sqlite3.Connection.rollback):
            super().rollback()

    def _has_ended_by(self, end: Callable[[sqlite3.Connection], object]) -> bool:
        """Tell whether nobody need await *end*: no transaction is open, or one that has only read, which is left to the thread."""
        driver: Any = self._connection
        is_unsent = bool(self.due)
        self.due = []
        if is_unsent or not (aiosqlite.open_connection(driver) and driver.in_transaction):
            return True
        if not self.only_reads:
            return False
        if not self._is_ending:  # SQLAlchemy's session, its pool and ours each roll back
            self._is_ending = True
            self.leave(partial(self._end_in_thread, end))
        return True

    def _end_in_thread(self, end: Callable[[sqlite3.Connection], object], connection: sqlite3.Connection) -> None:
        try:
            end(connection)
        finally:
            self._is_ending = False

    def leave(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Leave *work* to the connection's thread, to be done before whatever comes next."""
        driver: object = self._connection
        aiosqlite.leave_to_thread(driver, partial(_run, driver, [], work))


class _SingleTripCursor:
    """A cursor that is closed, and has all rows, as soon as its statement is executed."""

    server_side = False

    def __init__(self, connection: SingleTripConnection) -> None:
        self._connection = connection
        self._rows: deque[Any] = deque()
        self.arraysize = 1
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, operation: str, parameters: Any = ()) -> None:
        self._take(self._connection.send(operation, partial(_execute, operation, parameters)))

    def executemany(self, operation: str, seq_of_parameters: Any) -> None:
        self._take(self._connection.send("", partial(_execute_many, operation, seq_of_parameters)))

    def _take(self, outcome: _Outcome) -> None:
        self.description, self.rowcount, self.lastrowid = outcome.description, outcome.rowcount, outcome.lastrowid
        self._rows = deque(outcome.rows)

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        wanted = self.arraysize if size is None else size
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, deque()
        return list(rows)

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.popleft()

    def setinputsizes(self, *sizes: Any) -> None:
        """Do nothing: SQLite has no use for them."""

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Do nothing: the cursor is closed, and keeps its rows."""


def _nothing(connection: sqlite3.Connection) -> None:
    return None


def _run(driver: object, due: list[str], work: Callable[[sqlite3.Connection], T]) -> T:
    """Run *work* after the statements that are *due*, which are so no longer once they are carried out."""
    connection = aiosqlite.sqlite_connection(driver)
    for statement in due:
        connection.execute(statement)
    due.clear()
    return work(connection)


def _execute(operation: str, parameters: Any, connection: sqlite3.Connection) -> _Outcome:
    return _finished(connection.execute(operation, parameters or ()))


def _execute_many(operation: str, parameters: Any, connection: sqlite3.Connection) -> _Outcome:
    return _finished(connection.executemany(operation, parameters))


def _finished(cursor: sqlite3.Cursor) -> _Outcome:
    """Read the rows of *cursor* to the end and close it: an open one keeps its locks."""
    try:
        rows = cursor.fetchall() if cursor.description else ()
        return _Outcome(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    finally:
        cursor.close()
