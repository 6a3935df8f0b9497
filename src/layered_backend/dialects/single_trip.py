"""aiosqlite with one trip to its thread for each statement.

SQLAlchemy's own adapter makes a trip for each of cursor, statement, rows and close, and each trip wakes a thread and the
event loop. Here BEGIN goes along with the first statement too, and nobody waits for the end of a transaction that has
only read: the thread takes it before whatever comes next.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.util import await_only

__all__ = ["SingleTripConnection"]

T = TypeVar("T")

_READING = ("SELECT ", "PRAGMA query_only")


@dataclass(slots=True)
class _Outcome:
    """What a statement has left behind: its cursor is closed already."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    rows: Sequence[Any] = ()


class SingleTripConnection(AsyncAdapt_aiosqlite_connection):
    """A connection of aiosqlite, as SQLAlchemy takes it.

    Attributes:
        due: The statements that begin the transaction, where they have not been sent yet.
        only_reads: Whether the transaction has changed nothing so far.
    """

    __slots__ = ("_is_left", "due", "only_reads")

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.due: list[str] = []
        self.only_reads = False
        self._is_left = False

    def begin(self, statements: list[str]) -> None:
        """Begin a transaction by *statements*, which are sent with the first one after them."""
        self.due = statements
        self.only_reads = True
        self._is_left = False

    def cursor(self, server_side: bool = False) -> Any:
        if not server_side:
            return _SingleTripCursor(self)
        if self.due:
            self.travel(_nothing)
        return super().cursor(server_side=True)

    def travel(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* in the connection's thread, after what is due."""
        driver: Any = self._connection
        due, self.due = self.due, []
        try:
            result: T = await_only(driver._execute(_run, driver, due, work))
        except Exception as error:  # noqa: BLE001  # it is raised again
            if due and driver._connection and not driver.in_transaction:
                self.due = due  # or what comes next would be outside of a transaction
            self._handle_exception(error)
        return result

    def commit(self) -> None:
        if self._is_to_be_awaited():
            super().commit()

    def rollback(self) -> None:
        if self._is_to_be_awaited():
            super().rollback()

    def _is_to_be_awaited(self) -> bool:
        """Tell whether the end of the transaction makes a difference; one that has only read is left to the thread."""
        driver: Any = self._connection
        is_unsent, self.due = bool(self.due), []
        if is_unsent or self._is_left or not (driver._connection and driver.in_transaction):
            return False
        if self.only_reads:
            self._is_left = True
            self.leave(sqlite3.Connection.rollback)
        return not self.only_reads

    def leave(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Leave *work* to the connection's thread, to be done before whatever comes next."""
        driver: Any = self._connection
        driver._tx.put_nowait((None, partial(_run, driver, (), work)))


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
        self._connection.only_reads = self._connection.only_reads and operation.startswith(_READING)
        self._take(self._connection.travel(partial(_execute, operation, parameters)))

    def executemany(self, operation: str, seq_of_parameters: Any) -> None:
        self._connection.only_reads = False
        self._take(self._connection.travel(partial(_execute_many, operation, seq_of_parameters)))

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


def _run(driver: Any, due: Sequence[str], work: Callable[[sqlite3.Connection], T]) -> T:
    connection: sqlite3.Connection = driver._conn
    for statement in due:
        connection.execute(statement)
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
