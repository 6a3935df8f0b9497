"""The cursor of a result that is streamed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from layered_backend.errors import FinishedError
from layered_backend.session.owner import SessionOwner
from layered_backend.session.transaction_state import TransactionState

__all__ = ["StreamedCursor"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


class StreamedCursor:
    """The cursor of a streamed result: each fetch takes the session, and the transaction's end closes it.

    Args:
        cursor: The driver's.
        owner: Who uses the session now.
        state: The transaction that it is read in.

    Attributes:
        opened_at: How many calls of the session had begun when it was opened.
    """

    def __init__(self, cursor: Any, owner: SessionOwner, state: TransactionState) -> None:
        self._cursor = cursor
        self._owner = owner
        self._state = state
        self._is_ended = False
        self._is_closed = False
        self.opened_at: int = owner.calls
        state.streams.add(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def fetchone(self) -> Any:
        return self._fetch(self._cursor.fetchone)

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        return self._fetch(lambda: self._cursor.fetchmany() if size is None else self._cursor.fetchmany(size))

    def fetchall(self) -> Sequence[Any]:
        return self._fetch(self._cursor.fetchall)

    def _fetch(self, fetch: Callable[[], T]) -> T:
        if self._is_ended and not self._owner.is_closed:
            raise FinishedError(
                "this streamed result has ended with the transaction, or the savepoint, it was opened in"
            )
        with self._owner:
            return fetch()

    def close(self) -> None:
        """Close the cursor, unless another task uses its connection now; the end of the transaction does it then."""
        error = self._close()
        if error is not None:
            _logger.debug("a streamed result could not be closed", exc_info=error)

    def end(self) -> Exception | None:
        """Close the cursor with the transaction, or the savepoint, and return the driver's error if that failed."""
        self._is_ended = not self._is_closed
        return self._close()

    def _close(self) -> Exception | None:
        if self._is_closed or self._owner.is_closed:
            return None
        try:
            with self._owner:
                self._is_closed = True
                self._state.streams.discard(self)
                self._cursor.close()
        except Exception as error:  # noqa: BLE001  # it is for the caller
            return error
        return None
