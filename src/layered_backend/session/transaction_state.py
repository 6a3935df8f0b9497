"""The state of a transaction: what went wrong in it, savepoint by savepoint, and how far its end has come.

A database error that was caught and forgotten is why it is kept: PostgreSQL then answers COMMIT with success and saves
nothing, SQLite saves the rest. So the first error is remembered until a savepoint or a rollback undoes it, and the hooks
that wait for the commit share the fate of the savepoint that they were added in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakSet

from sqlalchemy.orm import InstanceState

__all__ = ["Frame", "Hook", "Stream", "TransactionState"]

Hook = Callable[[], Awaitable[object] | object]
"""A function, or a coroutine function, without arguments, that runs after a commit."""


class Stream(Protocol):
    """A result that is still being streamed."""

    @property
    def opened_at(self) -> int:
        """How many calls of the session had begun when it was opened."""
        ...

    def end(self) -> Exception | None:
        """Close it with the transaction, or the savepoint, and return the driver's error if that failed."""
        ...


@dataclass(slots=True, eq=False)
class Frame:
    """The part of a transaction since a savepoint was opened; the outermost frame is the transaction.

    Attributes:
        savepoint: The name of the savepoint, None for the transaction.
        error: The first error that nothing has undone yet.
        hooks: The hooks that are to run after the commit.
        read: The entities that were read in a savepoint, as SQLAlchemy knows them: its rollback may undo what they show.
    """

    savepoint: str | None = None
    error: BaseException | None = None
    hooks: list[Hook] = field(default_factory=list[Hook])
    read: WeakSet[InstanceState[Any]] = field(default_factory=WeakSet[InstanceState[Any]])


class TransactionState:
    """The state of one session's transaction, and of the next one after a commit in mid-block. Lives as long as the session.

    Attributes:
        has_begun: Whether a transaction is open in the database.
        is_ending: Whether a commit or a rollback is under way.
        is_commit_sent: Whether the last COMMIT is on its way, or past.
        is_committed: Whether the last COMMIT has succeeded.
        is_ended_by_database: Whether the database has ended the transaction by itself, so that a statement would be
            outside of it.
        actor_name: Tells who works, for rows that keep it; None where nobody knows.
        streams: The results that are still being streamed.
        undone_reads: The entities that were read in a savepoint that was undone since.
        last_undone: The error that a rollback to a savepoint is under way for, should the savepoint turn out to be gone.
    """

    def __init__(self) -> None:
        self._frames = [Frame()]
        self.has_begun = False
        self.is_ending = False
        self.is_commit_sent = False
        self.is_committed = False
        self.is_ended_by_database = False
        self.actor_name: Callable[[], str | None] | None = None
        self.streams: set[Stream] = set()  # strongly: one that nobody has any more must be closed too
        self.undone_reads: list[InstanceState[Any]] = []
        self.last_undone: BaseException | None = None

    @property
    def top(self) -> Frame:
        """The innermost savepoint's frame, or the transaction's."""
        return self._frames[-1]

    @property
    def error(self) -> BaseException | None:
        """The first error that nothing has undone, in whichever frame."""
        for frame in self._frames:
            if frame.error is not None:
                return frame.error
        return None

    @property
    def hooks(self) -> list[Hook]:
        """The hooks that are to run after the commit, in the order in which they were added."""
        return [hook for frame in self._frames for hook in frame.hooks]

    def remember(self, error: BaseException, *, undoes_all: bool = False) -> None:
        """Remember the first error; one that *undoes_all* is one that no savepoint can make good."""
        frame = self._frames[0] if undoes_all else self.top
        frame.error = frame.error or error

    def open_savepoint(self, name: str) -> None:
        """Begin a frame for the savepoint *name*."""
        self._frames.append(Frame(name))

    def undo_savepoint(self, name: str) -> None:
        """Forget what happened since the savepoint *name* was opened: its rollback undoes it."""
        for frame in self._since(name):
            self.last_undone = frame.error or self.last_undone
            self.undone_reads += frame.read

    def release_savepoint(self, name: str) -> None:
        """Hand what happened since the savepoint *name* was opened to the frame around it, as its release does."""
        for frame in self._since(name):
            self.top.error = self.top.error or frame.error
            self.top.hooks += frame.hooks
            self.note_read(*frame.read)

    def note_read(self, *entities: InstanceState[Any]) -> None:
        """Note that *entities* were read, where a rollback to a savepoint would leave them as they are."""
        if self.top.savepoint is not None:
            self.top.read.update(entities)

    def _since(self, name: str) -> list[Frame]:
        """Take away the frames from that of the savepoint *name* on, and return them, the outermost first."""
        names = [frame.savepoint for frame in self._frames]
        if name not in names:  # one that was opened past SQLAlchemy
            return []
        first = len(names) - 1 - names[::-1].index(name)
        taken = self._frames[first:]
        del self._frames[first:]
        return taken

    def has_left_open(self, frame: Frame) -> bool:
        """Tell whether a savepoint that was opened after *frame* is still open."""
        return frame in self._frames and frame is not self.top

    def close_streams(self, *, since: int = 0) -> None:
        """Close the results that are still being streamed: an open one would keep what the transaction had locked.

        Args:
            since: Only those that were opened after so many calls of the session.

        Raises:
            Exception: The driver's error, of the first that could not be closed.
        """
        errors = [stream.end() for stream in list(self.streams) if stream.opened_at > since]
        for error in filter(None, errors):
            raise error

    def begin_anew(self) -> list[Hook]:
        """Forget the errors of a transaction that has ended, and return its hooks."""
        hooks, self._frames, self.last_undone = self.hooks, [Frame()], None
        return hooks
