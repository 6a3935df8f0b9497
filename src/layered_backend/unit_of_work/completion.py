"""The end of a unit of work, and the outcome that it comes to."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Sequence
from enum import StrEnum

from layered_backend.errors import CommitUnknownError, DatabaseUnavailableError
from layered_backend.session import GuardedSession, GuardedSyncSession, Hook, at_once, drive, rolled_back, uninterrupted

__all__ = ["Completion", "Outcome", "run_hooks"]

_logger = logging.getLogger("layered_backend")


class Outcome(StrEnum):
    """The fate of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"
    """The connection was lost during COMMIT, or the database does not know; see CommitUnknownError."""


class Completion:
    """How one unit of work ends: by `end`, and before that by `commit` and `roll_back` in mid-block.

    Lives as long as the unit of work.

    Attributes:
        is_finished: Whether the block has ended, so that nothing can be done any more.
    """

    def __init__(self, session: GuardedSession) -> None:
        self._session = session
        self._outcome = Outcome.OPEN
        self._due_hooks: list[Hook] = []
        self.is_finished: bool = False

    @property
    def outcome(self) -> Outcome:
        """The fate of the last transaction; open again when a statement has followed it."""
        return Outcome.OPEN if self.has_begun else self._outcome

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is open in the database."""
        return self._session.state.has_begun and not self.is_finished

    async def end(self, error: BaseException | None) -> None:
        """End the block, which has raised *error*, or nothing.

        By the time it returns or raises, the connection is back in the pool. A cancellation waits for that.

        Raises:
            RolledBackError: The block has caught an error that had already undone the work.
            ConcurrentUseError: A task of the block still has a call under way.
            CommitUnknownError: Nobody but the database knows whether the work is saved.
        """
        session = self._session
        if self.is_finished:
            return

        # Nothing was asked of the database, or of the hooks.
        if session.is_idle:
            session.inner.finish()
            self._settle(error)
            return

        # Only reads, with nothing that their end could change: the connection goes back, and no COMMIT is sent.
        if session.awaits_nothing and self._outcome is not Outcome.UNKNOWN:
            await self._end_unheard(error)
            return

        # All else runs to its end in a task of its own. Without an event loop nothing can interrupt it.
        ending = self._end_transaction(error)
        await (uninterrupted(ending) if session.is_asynchronous else ending)

    async def commit(self) -> None:
        """Commit in mid-block, and run the hooks.

        Raises:
            RolledBackError: An error was caught that had already undone the work.
            CommitUnknownError: Nobody but the database knows whether the work is saved.
        """
        ending = self._commit_and_run_hooks()
        await (uninterrupted(ending) if self._session.is_asynchronous else ending)

    async def roll_back(self) -> None:
        """Undo everything since the transaction began, and drop the hooks."""
        ending = self._roll_back()
        await (uninterrupted(ending) if self._session.is_asynchronous else ending)

    async def _end_unheard(self, error: BaseException | None) -> None:
        if error is None:
            self._outcome = Outcome.COMMITTED
            self._session.state.has_begun = False
        try:
            ending = self._session.finish()
            await (at_once(ending) if self._session.is_asynchronous else ending)
        finally:
            self._settle(error)

    async def _end_transaction(self, error: BaseException | None) -> None:
        """End the transaction and give the connection back, whatever happens on the way; then run the hooks."""
        failure = error
        try:
            # A task of the block still has a call under way: it is stopped, and nothing is saved.
            stray = await self._session.stop_strays()
            failure = error or stray
        except BaseException as interruption:
            failure = interruption
            raise
        finally:
            try:
                await self._session.run_sync(lambda _: self._end_in_one_go(failure))
            finally:
                await self._run_due_hooks()
        if failure is not error and failure is not None:
            raise failure

    def _end_in_one_go(self, error: BaseException | None) -> None:
        """Do all that the database is needed for: commit, unless there is an error, and give the connection back."""
        try:
            if error is None:
                self._commit()
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                self._session.inner.finish()  # rolls back what is not committed
            finally:
                self._settle(error)

    async def _commit_and_run_hooks(self) -> None:
        try:
            await self._session.run_sync(lambda _: self._commit())
        finally:
            await self._run_due_hooks()

    def _commit(self) -> None:
        """Commit, and have the hooks be due; or raise why nothing is saved, or why nobody knows."""
        session, state = self._session.inner, self._session.state

        # A commit in mid-block was not answered, and its error was caught: no later one can change that.
        if self._outcome is Outcome.UNKNOWN:
            raise CommitUnknownError from state.error

        # An error was caught that has undone the work. PostgreSQL would answer COMMIT with success and save nothing.
        self._refuse_undone()
        session.flush_pending()
        self._refuse_undone()  # a listener may have caught an error of the flush

        undoes_something = self.has_begun or self._outcome is Outcome.OPEN
        try:
            session.end_transaction(commit=True)
        except BaseException as error:
            if state.is_commit_sent or undoes_something:
                self._outcome = self._outcome_after(error)
            if state.is_committed:
                self._due_hooks = state.begin_anew()
            if self._outcome is Outcome.UNKNOWN and isinstance(error, DatabaseUnavailableError):
                raise CommitUnknownError from error
            raise
        self._outcome = Outcome.COMMITTED
        self._due_hooks = state.begin_anew()  # not before: a listener may have added one

    def _refuse_undone(self) -> None:
        if self._session.state.error is not None:
            raise rolled_back(self._session.state.error)

    def _outcome_after(self, error: BaseException) -> Outcome:
        """Tell what became of the transaction when *error* came out of its commit."""
        state, transactions = self._session.state, self._session.inner.transactions
        # The database has answered, and a listener of the application's raised after the fact.
        if state.is_committed:
            return Outcome.COMMITTED
        # A listener, or the flush, raised before COMMIT was sent.
        if not state.is_commit_sent:
            return Outcome.ROLLED_BACK
        # COMMIT was cut off by a cancellation.
        if not isinstance(error, Exception):
            return Outcome.UNKNOWN
        # The connection was lost on the way, or the database itself does not know.
        if isinstance(error, DatabaseUnavailableError) and not transactions.answers_every_commit:
            return Outcome.UNKNOWN
        # The database has answered with an error: a deferred constraint, a serialization failure.
        return Outcome.ROLLED_BACK

    async def _roll_back(self) -> None:
        session = self._session
        undoes_something = self.has_begun or self._outcome is Outcome.OPEN
        try:
            await session.run_sync(GuardedSyncSession.end_transaction, commit=False)
        finally:
            # After an unknown outcome no rollback changes it; one that was refused has undone nothing.
            if undoes_something and not self.has_begun and self._outcome is not Outcome.UNKNOWN:
                self._outcome = Outcome.ROLLED_BACK

    def _settle(self, error: BaseException | None) -> None:
        """Note the outcome of a unit of work that has ended with *error*, or without one."""
        if self._session.state.has_begun or (self._outcome is Outcome.OPEN and error is not None):
            self._outcome = Outcome.ROLLED_BACK
        elif self._outcome is Outcome.OPEN:
            self._outcome = Outcome.COMMITTED
        self.is_finished = True

    async def _run_due_hooks(self) -> None:
        hooks = self._due_hooks
        self._due_hooks = []
        if hooks:
            await run_hooks(self._session, hooks)


async def run_hooks(session: GuardedSession, hooks: Sequence[Hook]) -> None:
    """Run *hooks*, which were due after a commit of *session*; one that raises is logged and stops nothing."""
    for hook in hooks:
        try:
            result = hook()
            if inspect.isawaitable(result):
                await result if session.is_asynchronous else drive(result)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task() if session.is_asynchronous else None
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is this task that is cancelled, not something that the hook waits for
            _logger.exception("the on_commit hook %r failed; the commit stands", hook)
