"""The guarded session: an `AsyncSession` that cannot be misused without being told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, Executable
from sqlalchemy.ext.asyncio import AsyncSession

from layered_backend.errors import ConcurrentUseError
from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.turn import current_task, name_of
from layered_backend.session.watched import WatchedSession

__all__ = ["GuardedSession"]

T = TypeVar("T")

_POLLING_INTERVAL = 0.005  # seconds


class GuardedSession(AsyncSession):
    """The session of one unit of work. Lives as long as its block, and is bound to a transaction only while it has one.

    Bound to a plain `Engine` it never suspends, so that its coroutines can be driven without an event loop.
    """

    sync_session: WatchedSession  # pyright: ignore[reportIncompatibleVariableOverride]  # set once, by the base class
    sync_session_class = WatchedSession

    def __init__(
        self,
        engine: Engine,
        *,
        asynchronous: bool,
        reading_alone: Engine | None = None,
        info: dict[Any, Any] | None = None,
    ) -> None:
        current = current_task if asynchronous else threading.current_thread
        super().__init__(engine=engine, current=current, reading_alone=reading_alone, info=info)
        self.is_asynchronous = asynchronous

    if not TYPE_CHECKING:  # the base class's overloads say what is returned

        async def execute(self, statement: Executable, params: Any = None, **kwargs: Any) -> Any:
            """Execute a statement and return its buffered result, as `AsyncSession.execute` does."""
            if self.is_asynchronous:
                return await super().execute(statement, params, **kwargs)
            # The base class would wait for the cursor to close, which only an asynchronous driver's cursor does.
            options = dict(kwargs.pop("execution_options", None) or {}, prebuffer_rows=True)  # as the base class does
            return await self.run_sync(lambda s: s.execute(statement, params, execution_options=options, **kwargs))

    @property
    def stack(self) -> SavepointStack:
        """The errors and hooks of the transaction."""
        return self.sync_session.stack

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is open in the database."""
        return self.sync_session.has_begun

    @property
    def is_commit_sent(self) -> bool:
        """Whether the last COMMIT was sent."""
        return self.sync_session.is_commit_sent

    @property
    def is_committed(self) -> bool:
        """Whether the last COMMIT has succeeded."""
        return self.sync_session.is_committed

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been asked of the session that its end must carry out or undo."""
        sync = self.sync_session
        return not (sync.in_transaction() or sync.turn.owner or self.stack.error or self.stack.top.hooks)

    @property
    def awaits_nothing(self) -> bool:
        """Whether the end of the transaction makes no difference to anybody."""
        sync = self.sync_session
        if sync.awaits_end or sync.turn.owner or self.stack.error or self.stack.top.hooks:
            return False
        return not (sync.is_commit_heard or sync.new or sync.dirty or sync.deleted)

    async def stop_strays(self) -> ConcurrentUseError | None:
        """End the call that is still under way, wait for it, and return the error that says so.

        Closing the session under a running query would hand its connection, and its locks, to the next one. A task is
        cancelled; a thread, which cannot be, is waited for, and so is a commit or a rollback, which must not be cut in two.
        """
        sync = self.sync_session
        stray, is_ended_by_stray = sync.turn.owner, False
        while (owner := sync.turn.owner) is not None:
            is_ended_by_stray = is_ended_by_stray or sync.is_ending
            if isinstance(owner, asyncio.Task):
                await _stop(owner, sync)
            else:
                time.sleep(_POLLING_INTERVAL)  # noqa: ASYNC251  # there is no event loop
        sync.turn.close_to_others()
        if stray is None:
            return None
        rest = "its commit or rollback was waited for" if is_ended_by_stray else "nothing was saved"
        return ConcurrentUseError(
            f"the block ended while {name_of(stray)} had a call under way in its unit of work; {rest}. "
            "Await every task inside the block"
        )

    async def call(self, work: Callable[[], T]) -> T:
        """Run *work*, which reaches the database, as a call of the session: in turn, and its errors translated."""
        return await self.run_sync(lambda _: self.sync_session.call(work))

    async def end(self, ending: Callable[[], None]) -> None:
        """Run *ending*, which ends the transaction on behalf of the unit of work, in one go."""
        await self.run_sync(lambda _: ending())

    async def finish_for_nothing(self) -> None:
        """Give the connection back, where `awaits_nothing`: there is nothing to commit, and nothing to undo."""
        self.sync_session.has_begun = False
        await self.finish()

    async def finish(self) -> None:
        """Give the connection back; every later call raises FinishedError."""
        await self.end(self.sync_session.finish)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Commit when the block ends, roll back when it raises, and finish: a small unit of work for the library itself."""
        try:
            yield
            await self.end(partial(self.sync_session.end_transaction, commit=True))
        finally:
            await self.finish()


async def _stop(task: asyncio.Task[Any], session: WatchedSession) -> None:
    """Cancel *task* and wait for the end of its call, not for whatever else it does.

    Each call of it is cancelled once: a driver may lose a cancellation (before Python 3.12 `asyncio.wait_for` does, where
    what it waits for comes at the same moment), and the task would go on to its next call.
    """
    cancelled_at = -1
    while session.turn.owner is task:
        if session.turn.calls != cancelled_at and not session.is_ending:
            cancelled_at = session.turn.calls
            task.cancel()
        await asyncio.wait({task}, timeout=_POLLING_INTERVAL)
