"""Reading before a transaction has begun: the part of it that a session knows."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Connection, Engine

from layered_backend.errors import LayeredError

__all__ = ["TransactionNeededError", "UnbegunReads"]


class TransactionNeededError(LayeredError):
    """A statement that was to be sent before the transaction begins needs it; it was not sent."""


class UnbegunReads(Protocol):
    """A way to read before a transaction has begun, as `layered_backend.accelerators` has one.

    Its connections send nothing but reads that need no transaction, and refuse others with TransactionNeededError.
    """

    @property
    def engine(self) -> Engine:
        """The engine of its connections."""
        ...

    def has_begun(self, connection: Connection) -> bool:
        """Tell whether BEGIN was sent on *connection*."""
        ...
