"""What a unit of work remembers of its transaction, savepoint by savepoint.

A database error that was caught and forgotten is why: PostgreSQL then answers COMMIT with success and saves nothing,
SQLite saves the rest. So the first error is remembered until a savepoint or a rollback undoes it, and the hooks that wait
for the commit share the fate of the savepoint that they were added in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["Frame", "Hook", "SavepointStack"]

Hook = Callable[[], Awaitable[object] | object]
"""What runs after a commit: a function, or a coroutine function, without arguments."""


@dataclass(slots=True, eq=False)
class Frame:
    """What happened since a savepoint was opened; the outermost frame is the transaction.

    Attributes:
        savepoint: The name of the savepoint, None for the transaction.
        error: The first error that nothing has undone yet.
        hooks: What is to run after the commit.
    """

    savepoint: str | None = None
    error: BaseException | None = None
    hooks: list[Hook] = field(default_factory=list[Hook])


class SavepointStack:
    """The errors and hooks of a transaction, by savepoint: what a savepoint's rollback undoes is forgotten with it."""

    def __init__(self) -> None:
        self._frames = [Frame()]
        self._opened = 0
        self.last_undone: BaseException | None = None
        """The error that the last rollback to a savepoint was for, should the savepoint turn out to be gone."""

    @property
    def top(self) -> Frame:
        return self._frames[-1]

    @property
    def hooks(self) -> list[Hook]:
        """What is to run after the commit, in the order in which it was added."""
        return [hook for frame in self._frames for hook in frame.hooks]

    def has_left_open(self, frame: Frame) -> bool:
        """Tell whether a savepoint that was opened after *frame* is still open."""
        return frame in self._frames and frame is not self.top

    def drop_after(self, frame: Frame) -> None:
        """Forget the frames of savepoints after *frame*, which could not be opened."""
        while self.top is not frame:
            self._frames.pop()

    @property
    def error(self) -> BaseException | None:
        """The first error that nothing has undone, in whichever frame."""
        return next((frame.error for frame in self._frames if frame.error), None)

    def remember(self, error: BaseException, *, undoes_all: bool = False) -> None:
        """Remember the first error; one that *undoes_all* is one that no savepoint can make good."""
        frame = self._frames[0] if undoes_all else self.top
        frame.error = frame.error or error

    def push(self, savepoint: str | None = None) -> None:
        """Begin a frame for *savepoint*; one without a name has the one that SQLAlchemy counts up to."""
        self._opened += 1
        self._frames.append(Frame(savepoint or f"sa_savepoint_{self._opened}"))

    def discard(self, savepoint: str) -> None:
        """Forget what happened since *savepoint* was opened, as its rollback has undone it."""
        while len(self._frames) > 1:
            frame = self._frames.pop()
            self.last_undone = frame.error or self.last_undone
            if frame.savepoint == savepoint:
                return

    def merge(self, savepoint: str) -> None:
        """Hand what happened since *savepoint* was opened to the frame around it, as its release does."""
        while len(self._frames) > 1:
            frame = self._frames.pop()
            self.top.error = self.top.error or frame.error
            self.top.hooks += frame.hooks
            if frame.savepoint == savepoint:
                return

    def clear(self) -> None:
        self._frames = [Frame()]
        self._opened = 0  # the next transaction's connection counts anew
