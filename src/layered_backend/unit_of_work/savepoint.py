"""A part of a unit of work that can fail alone."""

from __future__ import annotations

import logging
from functools import partial
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
        self._nested = await self._session.run_sync(Session.begin_nested)
        self._frame = self._session.state.top
        self._calls_before = self._session.inner.owner.calls

    async def _close(self, error: BaseException | None) -> None:
        """Release the savepoint, or roll it back."""
        nested, state = self._nested, self._session.state
        assert nested is not None

        # The block has raised: its part is undone, and the error goes on.
        if error is not None:
            await self._roll_back(nested)
            return

        # Savepoints can only nest. Where they overlap nobody can say what belongs to which: nothing is saved.
        if state.has_left_open(self._frame):
            refusal = UnitOfWorkError(
                "a savepoint ended while one that was opened after it was still open: they can only nest; "
                "nothing will be saved"
            )
            state.remember(refusal, undoes_all=True)
            raise refusal

        # An error was caught inside the block that had undone the savepoint: to go on would save half of the block.
        if self._frame.error is not None or not nested.is_active:
            await self._roll_back(nested)
            first = describe(self._frame.error) if self._frame.error else "an error"
            raise RolledBackError(
                f"{first} was caught inside a savepoint, but it had already undone the savepoint; "
                "let the error out of the block, and catch it around the block"
            ) from self._frame.error

        # Release it. A pending change that is flushed now may fail, and so may RELEASE: the savepoint is undone alone.
        try:
            await self._session.call(partial(self._end, nested, commit=True))
        except BaseException:
            await self._roll_back(nested)
            raise

    async def _roll_back(self, nested: SessionTransaction) -> None:
        """Undo the block; where even that fails, the block's own error says why, and the unit of work remembers it."""
        try:
            await self._session.call(partial(self._end, nested, commit=False))
        except Exception as failure:
            _logger.debug("a savepoint could not be rolled back", exc_info=True)
            self._session.state.remember(failure, undoes_all=True)

    def _end(self, nested: SessionTransaction, *, commit: bool) -> None:
        """Close the results that are being streamed in the savepoint, and end it."""
        try:
            self._session.state.close_streams(since=self._calls_before)
        finally:
            if commit:
                nested.commit()
            else:
                nested.rollback()
