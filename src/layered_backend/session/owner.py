"""The owner of a session: the one task, or thread, that has a call under way in it.

A session and its connection are not shareable. A query next to a commit was seen to leave a connection in a state that
broke the next, unrelated session. So each call of the session, each statement of its connection and each fetch of a
streamed result takes the session for its task, and one that begins while another task has it is an error.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from layered_backend.errors import ConcurrentUseError, FinishedError, UnitOfWorkError

__all__ = ["Owner", "SessionOwner", "current_task", "describe_owner"]

Owner = asyncio.Task[Any] | threading.Thread


class SessionOwner:
    """The task, or thread, that has a call under way in a session: `with owner:` is a call, and may contain others.

    Args:
        current: Returns the running task, or thread.

    Attributes:
        is_closed: Whether the unit of work has ended, so that nobody may call any more.
        depth: How many calls, statements and fetches the owner has under way, one inside the other.
        calls: How many calls, statements and fetches have begun.
    """

    __slots__ = ("_current", "_ender", "_owner", "calls", "depth", "is_closed")

    def __init__(self, current: Callable[[], Owner | None]) -> None:
        self._current = current
        self._owner: Owner | None = None
        self._ender: Owner | None = None
        self.is_closed: bool = False
        self.depth: int = 0
        self.calls: int = 0

    @property
    def task(self) -> Owner | None:
        """The task, or thread, that has a call under way; None where nobody has."""
        return self._owner if self._owner is not None and _is_alive(self._owner) else None

    def __enter__(self) -> None:
        """Begin a call, a statement or a fetch.

        Raises:
            FinishedError: The unit of work has ended.
            ConcurrentUseError: Another task has a call under way.
        """
        current = self._current()
        if self.is_closed or (self._ender is not None and self._ender is not current):
            raise FinishedError(
                "this unit of work has ended; open a new one with `async with` where the work goes on later "
                "(a background task, a stream, a cached object)"
            )
        if self._owner is not current:
            if self._owner is not None and _is_alive(self._owner):
                raise ConcurrentUseError(
                    f"{describe_owner(current)} used a unit of work in which {describe_owner(self._owner)} had a call "
                    "under way; await the calls one after the other, or give each task a unit of work of its own"
                )
            self._owner, self.depth = current, 0  # a task that was dropped in mid-call has left its depth behind
        self.depth += 1
        self.calls += 1

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.depth -= 1
        if self.depth <= 0:
            self._owner, self.depth = None, 0

    def close_to_others(self) -> None:
        """Let only the running task use the session from now on: it is about to end it."""
        self._ender = self._current()

    def close(self) -> None:
        """Let nobody use the session any more."""
        self.is_closed = True
        self._ender = None  # a task, whose context knows the unit of work


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


def describe_owner(owner: object) -> str:
    """Return how a message calls a task, or a thread."""
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()!r}"
    return f"thread {getattr(owner, 'name', owner)!r}"


def _is_alive(owner: Owner) -> bool:
    return not owner.done() if isinstance(owner, asyncio.Task) else owner.is_alive()
