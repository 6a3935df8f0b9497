"""A driver's connection that is a part of another one's transaction: BEGIN is a savepoint, and COMMIT its release."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

if TYPE_CHECKING:
    from layered_backend.testing.one_connection import OneConnection

__all__ = ["NestedConnection"]


class NestedConnection:
    """What a pool lends in place of a connection of its own. Lives as long as one transaction of the code under test.

    All but the ends of the transaction goes to the driver's connection.

    Attributes:
        user: SQLAlchemy's connection, which has this one now.
        owner: The task, or thread, that began the transaction; None while there is none.
        savepoint: The savepoint that stands for the transaction; None while there is none.
        is_abandoned: Whether it was closed in the middle of its transaction, which is still to be undone.
    """

    def __init__(self, one: OneConnection) -> None:
        self._one = one
        self._keeps_all = False
        self.user: Connection | None = None
        self.owner: object = None
        self.savepoint: str | None = None
        self.is_abandoned = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._one.driver, name)

    def begin(self, user: Connection, *, keeps_all: bool) -> None:
        """Begin a transaction for *user*; one that *keeps_all* does not undo what it did, as in autocommit."""
        self.user, self._keeps_all = user, keeps_all
        self._one.enter(self)

    def commit(self) -> None:
        if self.savepoint is not None:
            self._one.check_at_commit(self)
            self._one.release(self)

    def rollback(self) -> None:
        if self.savepoint is None:
            return
        if self._keeps_all:
            with self._undone_on_error():
                self._one.release(self)
        else:
            self._one.undo(self)

    @contextmanager
    def _undone_on_error(self) -> Generator[None]:
        try:
            yield
        except self._one.errors:  # a statement has failed, after which there is nothing to keep
            self._one.undo(self)

    def close(self) -> None:
        self.is_abandoned = self.savepoint is not None

    terminate = close
