"""One task, or thread, at a time: a session and its connection are not shareable.

A query beside a commit was seen to leave a connection in a state that broke the next, unrelated session. So the turn is
taken for each call of the session, for each statement of its connection and for each fetch of a streamed result, and
one that begins while another task has it is an error.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from layered_backend.errors import ConcurrentUseError, FinishedError, RolledBackError, UnitOfWorkError

__all__ = ["Owner", "StreamedCursor", "Turn", "current_task", "name_of"]

Owner = asyncio.Task[Any] | threading.Thread
"""Who has a turn."""

_logger = logging.getLogger("layered_backend")


class Turn:
    """Who has a call under way in a session. Taken again by the same task for calls within calls.

    Args:
        current: Returns the running task, or thread.
        streams_alone: Whether a statement would cost the rest of a result that is being streamed.

    Attributes:
        is_over: Whether the unit of work has ended, so that nobody may call any more.
        is_void: Whether the database has ended the transaction by itself, so that a statement would be outside of it.
        calls: How many calls, statements and fetches have begun.
    """

    def __init__(self, current: Callable[[], Owner | None], *, streams_alone: bool) -> None:
        self.is_over = False
        self.is_void = False
        self._ender: Owner | None = None
        self.calls = 0
        self._streams_alone = streams_alone
        self._current = current
        self._caller: Owner | None = None
        self._depth = 0
        self._executor: Owner | None = None
        self._streams: set[StreamedCursor] = set()  # strongly: one that nobody has any more must be closed too

    @property
    def owner(self) -> Owner | None:
        """The task, or thread, that has a call under way; None where nobody has."""
        owner = self._caller or self._executor
        return owner if _is_alive(owner) else None

    @property
    def is_streaming(self) -> bool:
        """Whether a result is still being streamed."""
        return bool(self._streams)

    def enter(self) -> None:
        """Begin a call of the session.

        Raises:
            FinishedError: The unit of work has ended.
            ConcurrentUseError: Another task has a call under way.
        """
        self._caller = self._checked()
        self._depth += 1

    def exit(self) -> bool:
        """End a call of the session, and tell whether it was the outermost."""
        self._depth -= 1
        if self._depth == 0:
            self._caller = None
        return self._depth == 0

    def begin_statement(self) -> Owner | None:
        """Use the connection for a statement, within a call of the session or past it.

        Returns:
            What `end_statement` wants to know.

        Raises:
            FinishedError: The unit of work has ended.
            ConcurrentUseError: Another task has a call under way.
            UnitOfWorkError: A result is being streamed, which the statement would cut short.
            RolledBackError: The database has ended the transaction.
        """
        if self.is_void:
            raise RolledBackError("the database has ended the transaction; it takes nothing more until the rollback")
        current = self._checked()
        if self._streams_alone and self._streams:
            raise UnitOfWorkError(
                "a result is being streamed, and the connection to this database can do nothing else meanwhile; "
                "read it to its end, or close it, before the next statement"
            )
        before, self._executor = self._executor, current
        return before

    def end_statement(self, before: Owner | None) -> None:
        """Have the connection as it was before the statement."""
        self._executor = before

    @contextmanager
    def fetch(self) -> Generator[None]:
        """Use the connection for a result that is being streamed.

        Raises:
            FinishedError: The unit of work has ended.
            ConcurrentUseError: Another task has a call under way.
        """
        before, self._executor = self._executor, self._checked()
        try:
            yield
        finally:
            self._executor = before

    def follow(self, cursor: Any) -> StreamedCursor:
        """Return *cursor*, which a result is streamed from, so that it takes the turn and ends with the transaction."""
        streamed = StreamedCursor(cursor, self)
        self._streams.add(streamed)
        return streamed

    def forget(self, stream: StreamedCursor) -> None:
        """Forget *stream*, which is closed."""
        self._streams.discard(stream)

    def close_streams(self, *, since: int = 0) -> None:
        """Close the results that are still being streamed: an open one would keep what the transaction had locked.

        Args:
            since: Only those that came after so many `calls`.

        Raises:
            Exception: What the driver said, of the first that could not be closed.
        """
        errors = [stream.end() for stream in list(self._streams) if stream.number > since]
        for error in filter(None, errors):
            raise error

    def close_to_others(self) -> None:
        """Let only the caller use the session from now on: it is about to end it."""
        self._ender = self._current()

    def close(self) -> None:
        """Let nobody use the session any more."""
        self.is_over = True
        self._ender = None  # a task, whose context knows the unit of work

    def _checked(self) -> Owner | None:
        if self.is_over or (self._ender is not None and self._ender is not self._current()):
            raise FinishedError(
                "this unit of work has ended; open a new one with `async with` where the work goes on later "
                "(a background task, a stream, a cached object)"
            )
        current = self._current()
        owner = self._caller or self._executor
        if owner is not None and owner is not current and _is_alive(owner):
            raise ConcurrentUseError(
                f"{name_of(current)} used a unit of work in which {name_of(owner)} had a call under way; "
                "await the calls one after the other, or give each task a unit of work of its own"
            )
        self.calls += 1
        return current


class StreamedCursor:
    """The cursor of a result that is streamed. Lives at most as long as the transaction.

    Attributes:
        is_closed: Whether there is nothing more to fetch.
        number: How many `calls` of its turn had begun when it was opened.
    """

    def __init__(self, cursor: Any, turn: Turn) -> None:
        self._cursor = cursor
        self._turn = turn
        self._is_ended = False
        self.is_closed = False
        self.number = turn.calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def fetchone(self) -> Any:
        with self._fetch():
            return self._cursor.fetchone()

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        with self._fetch():
            rows: Sequence[Any] = self._cursor.fetchmany() if size is None else self._cursor.fetchmany(size)
            return rows

    def fetchall(self) -> Sequence[Any]:
        with self._fetch():
            rows: Sequence[Any] = self._cursor.fetchall()
            return rows

    @contextmanager
    def _fetch(self) -> Generator[None]:
        if self._is_ended and not self._turn.is_over:
            raise FinishedError(
                "this streamed result has ended with the transaction, or the savepoint, it was opened in"
            )
        with self._turn.fetch():
            yield

    def close(self) -> None:
        """Close the cursor, where nobody else uses its connection now; the end of the transaction does it else."""
        error = self._closed()
        if error is not None:
            _logger.debug("a streamed result could not be closed", exc_info=error)

    def end(self) -> Exception | None:
        """Close the cursor with the transaction, or the savepoint, and return what the driver said if that failed."""
        self._is_ended = not self.is_closed
        return self._closed()

    def _closed(self) -> Exception | None:
        if self.is_closed or self._turn.is_over:
            return None
        try:
            with self._turn.fetch():
                self.is_closed = True
                self._turn.forget(self)
                self._cursor.close()
        except Exception as error:  # noqa: BLE001  # it is for the caller
            return error
        return None


def current_task() -> Owner | None:
    """Return the running task.

    Raises:
        UnitOfWorkError: This is a thread without an event loop.
    """
    try:
        return asyncio.current_task()
    except RuntimeError:
        raise UnitOfWorkError(
            "a unit of work that was opened with `async with` is used in a thread without an event loop; "
            "where this is a route or a dependency of FastAPI, write `async def` instead of `def`"
        ) from None


def name_of(owner: object) -> str:
    """Return how to call a task, or a thread, in a message."""
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()!r}"
    return f"thread {getattr(owner, 'name', owner)!r}"


def _is_alive(owner: object) -> bool:
    if isinstance(owner, asyncio.Task):
        return not owner.done()
    return isinstance(owner, threading.Thread) and owner.is_alive()
