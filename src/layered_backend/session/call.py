"""The calls of a session."""

from __future__ import annotations

from types import TracebackType

from layered_backend.errors import LayeredError
from layered_backend.session.errors import translated_session_error
from layered_backend.session.owner import SessionOwner
from layered_backend.session.transaction_state import TransactionState

__all__ = ["SessionCall"]


class SessionCall:
    """A call of the session: it takes the session, and its errors leave as this library's."""

    __slots__ = ("_dialect_name", "_owner", "_state")

    def __init__(self, owner: SessionOwner, state: TransactionState, dialect_name: str) -> None:
        self._owner = owner
        self._state = state
        self._dialect_name = dialect_name

    def __enter__(self) -> None:
        self._owner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.__exit__()
        if error is None or self._owner.depth:  # a call around this one translates
            return
        translated = self.translated(error)
        if translated is not None:
            raise translated from translated.__cause__ or error

    def translated(self, error: BaseException) -> LayeredError | None:
        """Return this library's error for *error*, where it is another's and has one."""
        return translated_session_error(error, self._state, self._dialect_name)
