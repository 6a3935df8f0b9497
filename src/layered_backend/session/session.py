"""The guarded session: an `AsyncSession` that cannot be misused without being told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine, Executable
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from layered_backend.errors import ConcurrentUseError
from layered_backend.session.errors import refuse
from layered_backend.session.owner import current_task, describe_owner
from layered_backend.session.sync_session import GuardedSyncSession
from layered_backend.session.transaction_state import TransactionState
from layered_backend.session.unbegun_reads import UnbegunReads

__all__ = ["GuardedSession"]

P = ParamSpec("P")
T = TypeVar("T")

_POLLING_INTERVAL = 0.005  # seconds


class GuardedSession(AsyncSession):
    """The session of one unit of work. Lives as long as its block, and is bound to a transaction only while it has one.

    Bound to a plain `Engine` it never suspends, so that its coroutines can be driven without an event loop.

    Args:
        engine: Where to work; its connections are awaited if *asynchronous*.
        asynchronous: Whether it is awaited on an event loop, or driven without one.
        unbegun_reads: How to read before a transaction has begun; None where every read is in the transaction.
        info: SQLAlchemy's `Session.info`.

    Attributes:
        is_asynchronous: Whether it is awaited on an event loop.
        inner: The `sync_session`, by its own type.
        state: The state of the transaction: its errors, its hooks and how far its end has come.
    """

    sync_session_class: type[Session] = GuardedSyncSession

    def __init__(
        self,
        engine: Engine,
        *,
        asynchronous: bool,
        unbegun_reads: UnbegunReads | None = None,
        info: dict[Any, Any] | None = None,
    ) -> None:
        current = current_task if asynchronous else threading.current_thread
        super().__init__(engine=engine, current=current, unbegun_reads=unbegun_reads, info=info)
        self.is_asynchronous = asynchronous
        assert isinstance(self.sync_session, GuardedSyncSession)  # the base class has made it
        self.inner: GuardedSyncSession = self.sync_session
        self.state: TransactionState = self.inner.state

    @property
    def bind(self) -> Any:
        """The engine, for libraries that ask: an `AsyncEngine`, or an `Engine` without an event loop."""
        engine = self.inner.engine
        return AsyncEngine(engine) if self.is_asynchronous else engine

    @bind.setter
    def bind(self, bind: Any) -> None:
        if bind is not None:
            refuse("session.bind = ...")

    if not TYPE_CHECKING:  # the base class's overloads say what is returned

        async def execute(self, statement: Executable, params: Any = None, **kwargs: Any) -> Any:
            """Execute a statement and return its buffered result, as `AsyncSession.execute` does."""
            if self.is_asynchronous:
                return await super().execute(statement, params, **kwargs)
            # The base class would wait for the cursor to close, which only an asynchronous driver's cursor does.
            options = dict(kwargs.pop("execution_options", None) or {}, prebuffer_rows=True)  # as the base class does
            return await self.run_sync(lambda s: s.execute(statement, params, execution_options=options, **kwargs))

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been asked of the session that its end must carry out or undo."""
        return not (self.inner.in_transaction() or self._is_concerned)

    @property
    def awaits_nothing(self) -> bool:
        """Whether the end of the transaction makes no difference to anybody."""
        sync = self.inner
        return not (sync.awaits_end or self._is_concerned or sync.is_commit_heard) and sync.is_clean

    @property
    def _is_concerned(self) -> bool:
        """Whether a task, an error or a hook waits for the end."""
        return bool(self.inner.owner.task or self.state.error or self.state.top.hooks)

    async def stop_strays(self) -> ConcurrentUseError | None:
        """End the call that is still under way, wait for it, and return the error that says so.

        Closing the session under a running query would hand its connection, and its locks, to the next one. A task is
        cancelled; a thread, which cannot be, is waited for, and so is a commit or a rollback, which must not be cut in two.
        """
        owner, state = self.inner.owner, self.state
        stray, is_ended_by_stray, cancelled_at = owner.task, False, -1
        while (task := owner.task) is not None:
            is_ended_by_stray = is_ended_by_stray or state.is_ending
            if not isinstance(task, asyncio.Task):
                time.sleep(_POLLING_INTERVAL)  # noqa: ASYNC251  # there is no event loop
                continue
            # Each call of it is cancelled once. A driver may lose a cancellation (before Python 3.12 `asyncio.wait_for`
            # does, where what it waits for comes at the same moment), and the task would go on to its next call.
            if owner.calls != cancelled_at and not state.is_ending:
                cancelled_at = owner.calls
                task.cancel()
            await asyncio.wait({task}, timeout=_POLLING_INTERVAL)
        owner.close_to_others()
        if stray is None:
            return None
        rest = "its commit or rollback was waited for" if is_ended_by_stray else "nothing was saved"
        return ConcurrentUseError(
            f"the block ended while {describe_owner(stray)} had a call under way in its unit of work; {rest}. "
            "Await every task inside the block"
        )

    async def call(self, work: Callable[[], T]) -> T:
        """Run *work*, which reaches the database, as a call of the session: in turn, and its errors translated."""
        return await self.run_sync(GuardedSyncSession.call, work)

    if TYPE_CHECKING:  # the base class calls it with a plain `Session`; it is ours

        async def run_sync(
            self, fn: Callable[Concatenate[GuardedSyncSession, P], T], *args: P.args, **kwargs: P.kwargs
        ) -> T: ...

    async def finish(self) -> None:
        """Give the connection back; every later call raises FinishedError."""
        await self.run_sync(GuardedSyncSession.finish)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Commit when the block ends, roll back when it raises, and finish: a small unit of work for the library itself."""
        try:
            yield
            await self.run_sync(GuardedSyncSession.end_transaction, commit=True)
        finally:
            await self.finish()
