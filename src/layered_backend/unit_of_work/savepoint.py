"""A part of a unit of work that can fail alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import NoReturn

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
        self._calls_before = 0

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
        around = self._session.stack.top
        try:
            self._nested = await self._session.run_sync(_begin_nested)
        except BaseException:
            self._session.stack.drop_after(around)
            raise
        self._frame = self._session.stack.top
        self._calls_before = self._session.sync_session.turn.calls

    async def _close(self, error: BaseException | None) -> None:
        nested = self._nested
        assert nested is not None
        if error is None and self._session.stack.has_left_open(self._frame):
            self._refuse_overlap()
        swallowed = error is None and (self._frame.error is not None or not nested.is_active)
        if error is None and not swallowed:
            await self._session.call(partial(self._end, nested.commit))
            return
        await self._roll_back(nested)
        if swallowed:
            raise self._refusal() from self._frame.error

    async def _roll_back(self, nested: SessionTransaction) -> None:
        """Undo the block; where even that fails, the block's own error says why, and the unit of work remembers it."""
        try:
            await self._session.call(partial(self._end, nested.rollback))
        except Exception as failure:
            _logger.debug("a savepoint could not be rolled back", exc_info=True)
            self._session.stack.remember(failure, undoes_all=True)

    def _end(self, end: Callable[[], None]) -> None:
        """Release the savepoint or roll it back, with the results that are being streamed in it."""
        try:
            self._session.sync_session.turn.close_streams(since=self._calls_before)
        finally:
            end()

    def _refuse_overlap(self) -> NoReturn:
        refusal = UnitOfWorkError(
            "a savepoint ended while one that was opened after it was still open: they can only nest; nothing will be saved"
        )
        self._session.stack.remember(refusal, undoes_all=True)
        raise refusal

    def _refusal(self) -> RolledBackError:
        first = describe(self._frame.error) if self._frame.error else "an error"
        return RolledBackError(
            f"{first} was caught inside a savepoint, but it had already undone the savepoint; "
            "let the error out of the block, and catch it around the block"
        )


def _begin_nested(session: Session) -> SessionTransaction:
    nested = session.begin_nested()
    try:
        session.connection()  # SAVEPOINT is sent now, not before the first statement
    except BaseException:
        nested.rollback()
        raise
    return nested
