"""The guarded session: an `AsyncSession` that cannot be misused without being told."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import safe_reraise
from sqlalchemy.util.concurrency import in_greenlet

from layered_backend.dialects import TransactionNeededError, dialect_named
from layered_backend.errors import ConcurrentUseError, LayeredError, RolledBackError, UnitOfWorkError
from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.translation import rolled_back, translated_session_error
from layered_backend.session.turn import Owner, Turn, current_task, name_of
from layered_backend.session.unloaded import refuse_unloaded
from layered_backend.session.watching import follow, refuse

__all__ = ["GuardedSession", "WatchedSession"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")
_POLLING_INTERVAL = 0.005  # seconds


class _Call:
    """A call of the session: it takes the turn, and its errors leave as this library's."""

    __slots__ = ("_session",)

    def __init__(self, session: WatchedSession) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._session.turn.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_outermost = self._session.turn.exit()
        if error is None or not is_outermost:
            return
        translated = self._session.translated(error)
        if translated is not None:
            raise translated from translated.__cause__ or error


class WatchedSession(Session):
    """The synchronous session inside a `GuardedSession`, through which each of its calls passes.

    Attributes:
        stack: The errors and hooks of the transaction, by savepoint.
        turn: Who has a call under way.
        has_begun: Whether a transaction is open in the database.
        is_ending: Whether a commit or a rollback is under way.
        is_commit_sent: Whether COMMIT is on its way, or past.
        is_committed: Whether it has succeeded.
        reading_alone: What to read with before a transaction has begun; None where every read is in the transaction.
        followed: The connection that the transaction has, or had; None before the first one, and in the end.
        before_begin: What is called before a transaction begins, so that it can refuse.
        actor_name: Tells who works, for rows that keep it; None where nobody knows.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        current: Callable[[], Owner | None],
        reading_alone: Engine | None = None,
        info: dict[Any, Any] | None = None,
        bind: None = None,
        binds: None = None,
    ) -> None:
        super().__init__(info=info, expire_on_commit=False, close_resets_only=False)
        self.engine = engine
        self.dialect = dialect_named(engine.dialect.name)
        self.stack = SavepointStack()
        self.turn = Turn(current, streams_alone=self.dialect.streams_alone)
        self.reading_alone = reading_alone
        self.has_begun = False
        self.is_ending = False
        self.is_commit_sent = False
        self.is_committed = False
        self.before_begin: Callable[[], None] | None = None
        self.actor_name: Callable[[], str | None] | None = None
        self.followed: Connection | None = None

    def translated(self, error: BaseException) -> LayeredError | None:
        """Return this library's error for *error*, where it is another's and has one."""
        return translated_session_error(error, self.stack, self.engine.dialect.name)

    @property
    def _call(self) -> _Call:
        return _Call(self)  # a new one each time: the session does not keep what keeps the session

    @property
    def _reaching(self) -> _Call:
        """A call that reaches the database."""
        if not in_greenlet():
            raise UnitOfWorkError(
                "nothing awaits the database here; call the asynchronous session's method and await it"
            )
        if not self.has_begun and self.before_begin is not None:
            self.before_begin()
        return self._call

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
        return self.engine

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if not in_greenlet():
            self._refuse_unloaded(*args, **kwargs)
        with self._reaching:
            return super().execute(*args, **kwargs)

    def _refuse_unloaded(self, *args: Any, **kwargs: Any) -> None:
        """Say which attribute, as it is read, wants to load itself."""
        event.listen(self, "do_orm_execute", refuse_unloaded, insert=True)
        try:
            super().execute(*args, **kwargs)
        finally:
            event.remove(self, "do_orm_execute", refuse_unloaded)

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        with self._reaching:
            return super().scalar(*args, **kwargs)

    def scalars(self, *args: Any, **kwargs: Any) -> Any:
        with self._reaching:
            return super().scalars(*args, **kwargs)

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        with self._reaching:
            return super().connection(*args, **kwargs)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which only reads, on a connection, past the entities, after what is pending has been written."""
        self.flush_pending()
        with self._reaching:
            if self.reading_alone is not None and not self.has_begun and not self._is_heard:
                try:
                    return self._read_alone(self.reading_alone, work)
                except TransactionNeededError:
                    self.reading_alone = None
            return work(super().connection())

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run *work* on the transaction's connection, past the entities, after what is pending has been written."""
        self.flush_pending()
        with self._reaching:
            return work(super().connection())

    def flush_pending(self) -> None:
        """Flush, unless there is nothing to write."""
        if not self.is_clean:
            self.flush()

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to flush."""
        return self._is_clean()

    def _read_alone(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with engine.connect() as connection:
            follow(connection, self)
            return work(connection)

    @property
    def _is_heard(self) -> bool:
        """Whether somebody beside us wants to know of the transaction's beginning or of its end."""
        return len(self.dispatch.after_begin) > 1 or bool(self.engine.dispatch.begin) or self.is_commit_heard

    @property
    def is_commit_heard(self) -> bool:
        """Whether somebody wants to know of a COMMIT, be it of nothing."""
        return bool(self.dispatch.before_commit or self.dispatch.after_commit or self.engine.dispatch.commit)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        self._flush_by(partial(super().flush, *args, **kwargs))

    def flush_by(self, write: Callable[[Connection], None]) -> None:
        """Run *write* in place of a flush, on the transaction's connection: what fails undoes as much as there."""

        def flush() -> None:
            connection = super(WatchedSession, self).connection()
            try:
                write(connection)
            except BaseException:
                with safe_reraise():  # as the flush has it, which is a transaction of its own inside
                    inner = self._autobegin_t()._begin()  # pyright: ignore[reportPrivateUsage]  # there is no public way
                    inner.rollback(_capture_exception=True)
                raise

        self._flush_by(flush)

    def _flush_by(self, flush: Callable[[], None]) -> None:
        frame, before = self.stack.top, self.stack.error
        with self._reaching:
            try:
                flush()
            except BaseException as error:
                # Where the savepoint to roll back to is gone, the flush's own error says why, and nobody has caught it.
                first = self.stack.error if before is None and isinstance(error, RolledBackError) else None
                if not self.is_active:  # SQLAlchemy has rolled back, whatever failed
                    frame.error = frame.error or first or self.translated(error) or error
                if first is not None:
                    raise first from first.__cause__
                raise

    def add(self, *args: Any, **kwargs: Any) -> None:
        with self._call:
            super().add(*args, **kwargs)

    def add_all(self, instances: Iterable[object]) -> None:
        with self._call:
            super().add_all(instances)

    def delete(self, instance: object) -> None:
        with self._call:
            super().delete(instance)

    def begin(self, nested: bool = False) -> SessionTransaction:
        if not nested:
            refuse("session.begin()")
        with self._call:
            return super().begin(nested)

    def commit(self) -> None:
        refuse("session.commit()")

    def rollback(self) -> None:
        refuse("session.rollback()")

    def close(self) -> None:
        refuse("session.close()")

    def get_transaction(self) -> SessionTransaction | None:
        refuse("session.get_transaction()")

    def reset(self) -> None:
        refuse("session.reset()")

    def invalidate(self) -> None:
        refuse("session.invalidate()")

    def call(self, work: Callable[[], T]) -> T:
        with self._call:
            return work()

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back, on behalf of the unit of work."""
        with self._call:
            self._close_streams(fatal=commit)
            self.reading_alone = None  # the outcome of what follows is that of a transaction
            self.is_commit_sent = self.is_committed = False
            self.is_ending = True
            try:
                if commit:
                    super().commit()
                else:
                    super().rollback()
            finally:
                self.is_ending = False
                self.reading_alone = None  # what follows is a transaction of its own, which has an outcome
                # A listener that forbids the commit leaves the transaction open.
                self.has_begun = self.has_begun and not self.is_commit_sent and self.in_transaction()
                self.turn.is_void = self.turn.is_void and self.has_begun
        self.stack.clear()

    @property
    def awaits_end(self) -> bool:
        """Whether the end of the transaction makes a difference to the database."""
        followed = self.followed if self.has_begun else None
        if followed is None:
            return False
        return followed.closed or followed.invalidated or self.turn.is_streaming or self.dialect.awaits_end(followed)

    def _close_streams(self, *, fatal: bool) -> None:
        try:
            self.turn.close_streams()
        except Exception as error:
            if fatal:  # the database may have taken offence, and would answer COMMIT with a rollback
                self.stack.remember(error, undoes_all=True)
                raise rolled_back(error) from error
            _logger.debug("a streamed result could not be closed", exc_info=True)

    def finish(self) -> None:
        """Undo what is not committed and give the connection back, for good."""
        try:
            if self.in_transaction() or self.identity_map:
                self._close()
        finally:
            self.turn.close()
            # These know the session: no cycle is left to be collected.
            self.followed = self.before_begin = self.actor_name = None

    def _close(self) -> None:
        self.turn.enter()
        try:
            self._close_streams(fatal=False)
            super().close()
        except BaseException as error:
            super().invalidate()  # a connection that cannot even roll back is of use to nobody
            if not isinstance(error, Exception):
                raise
            _logger.debug("a connection could not be rolled back and was closed", exc_info=True)
        finally:
            self.turn.exit()


@event.listens_for(WatchedSession, "after_begin")
def _follow_connection(session: WatchedSession, transaction: SessionTransaction, connection: Connection) -> None:
    follow(connection, session)
    session.followed = connection
    session.has_begun = True


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
