"""A part of a unit of work that can fail alone."""

from __future__ import annotations

import logging
from types import TracebackType

from sqlalchemy.orm import Session, SessionTransaction

from layered_backend.errors import RolledBackError, UnitOfWorkError
from layered_backend.session import Frame, GuardedSession, describe, drive

__all__ = ["Savepoint"]

_logger = logging.getLogger("layered_backend")


class Savepoint:
    """A block whose error undoes only what the block did. Lives as long as its block; made by `UnitOfWork.savepoint`."""

    def __init__(self, session: GuardedSession) -> None:
        self._session = session
        self._nested: SessionTransaction | None = None
        self._frame = Frame()

    async def __aenter__(self) -> None:
        await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close(error)

    def __enter__(self) -> None:
        if self._session.is_asynchronous:
            raise UnitOfWorkError("this unit of work was opened with `async with`; write `async with uow.savepoint():`")
        drive(self._open())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._close(error))

    async def _open(self) -> None:
        await self._session.flush()
        self._nested = await self._session.run_sync(_begin_nested)
        self._frame = self._session.stack.top

    async def _close(self, error: BaseException | None) -> None:
        nested = self._nested
        assert nested is not None
        swallowed = error is None and (self._frame.error is not None or not nested.is_active)
        if error is None and not swallowed:
            await self._session.call(nested.commit)
            return
        await self._roll_back(nested)
        if swallowed:
            raise self._refusal() from self._frame.error

    async def _roll_back(self, nested: SessionTransaction) -> None:
        """Undo the block; where even that fails, the block's own error says why, and the unit of work remembers it."""
        try:
            await self._session.call(nested.rollback)
        except Exception:
            _logger.debug("a savepoint could not be rolled back", exc_info=True)

    def _refusal(self) -> RolledBackError:
        first = describe(self._frame.error) if self._frame.error else "an error"
        return RolledBackError(
            f"{first} was caught inside a savepoint, but it had already undone the savepoint; "
            "let the error out of the block, and catch it around the block"
        )


def _begin_nested(session: Session) -> SessionTransaction:
    nested = session.begin_nested()
    session.connection()  # SAVEPOINT is sent now, not before the first statement
    return nested
