"""A savepoint of a session: a part of its transaction that can fail alone, whoever has opened it."""

from __future__ import annotations

import logging
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.orm import SessionTransaction

from layered_backend.errors import UnitOfWorkError
from layered_backend.session.errors import refuse, savepoint_undone

if TYPE_CHECKING:
    from layered_backend.session.sync_session import GuardedSyncSession

__all__ = ["OpenSavepoint"]

_logger = logging.getLogger("layered_backend")


class OpenSavepoint:
    """SQLAlchemy's transaction of a savepoint, with an end that saves nothing by halves. Lives as long as its block.

    `UnitOfWork.savepoint` and `session.begin_nested` both end here. All but the end passes through to SQLAlchemy's.

    Args:
        session: Its session, where the savepoint is the innermost one.
        transaction: SQLAlchemy's own.
    """

    def __init__(self, session: GuardedSyncSession, transaction: SessionTransaction) -> None:
        self._session = session
        self._transaction = transaction
        self._frame = session.state.top
        self._calls_before = session.owner.calls
        self._around: OpenSavepoint | None = None
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def __enter__(self) -> Self:
        self._around, self._session.block = self._session.block, self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.block = self._around
        if self._has_ended:  # in mid-block
            return
        if error is None:
            self.commit()
        else:
            self._undo()

    def refuse_statement(self) -> None:
        """Refuse a statement in the block, where its savepoint is no more: it would be a part of the work around it.

        Raises:
            UnitOfWorkError: The block has ended its savepoint.
            RolledBackError: An error that the block has caught has undone the savepoint.
        """
        if self._has_ended:
            raise UnitOfWorkError("this savepoint has ended; leave its block before the next statement")
        if not self._transaction.is_active:
            raise savepoint_undone(self._frame.error)

    def commit(self) -> None:
        """Release the savepoint.

        Raises:
            UnitOfWorkError: One that was opened after it is still open.
            RolledBackError: An error was caught that had undone it.
        """
        state = self._session.state
        if self._has_ended:
            self._transaction.commit()  # raises SQLAlchemy's own error
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
        if self._frame.error is not None or not self._transaction.is_active:
            self._undo()
            raise savepoint_undone(self._frame.error)

        # Release it. A pending change that is flushed now may fail, and so may RELEASE: the savepoint is undone alone.
        try:
            self._session.call(partial(self._end, commit=True))
        except BaseException:
            self._undo()
            raise

    def rollback(self) -> None:
        """Undo what was done since the savepoint was opened; where that fails, the unit of work saves nothing."""
        try:
            self._session.call(partial(self._end, commit=False))
        except Exception as failure:
            self._session.state.remember(failure, undoes_all=True)
            raise

    def close(self) -> None:
        """Undo the savepoint, unless it has ended."""
        if not self._has_ended:
            self.rollback()

    def prepare(self) -> None:
        refuse("transaction.prepare()")

    def _undo(self) -> None:
        """Undo the savepoint after an error, which says more than another one that arises now."""
        try:
            self.rollback()
        except Exception:
            _logger.debug("a savepoint could not be rolled back", exc_info=True)

    def _end(self, *, commit: bool) -> None:
        """Close the results that are being streamed in the savepoint, and end it."""
        try:
            self._session.state.close_streams(since=self._calls_before)
        finally:
            if commit:
                self._transaction.commit()
                self._has_ended = True
            else:
                self._has_ended, was_active = True, self._transaction.is_active
                self._transaction.rollback()
                if not was_active:  # an error had undone it already, and the block went on
                    self._session.forget_pending()
