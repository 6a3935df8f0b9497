"""The guarded session: an `AsyncSession` that cannot be misused without being told.

- `_Turn` refuses a second task. A query beside a commit was seen to leave a connection in a state that broke the next,
  unrelated session, so a call that begins while another task's is under way is an error.
- `_WatchedSession` refuses to be used when its unit of work is over, and to commit past it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import in_greenlet

from layered_backend.errors import ConcurrentUseError, FinishedError, LayeredError, UnitOfWorkError
from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.translation import remember_in, translated_session_error

__all__ = ["GuardedSession"]

_logger = logging.getLogger("layered_backend")


class _Turn:
    """One task, or thread, at a time; entered again by the same one for calls within calls."""

    def __init__(self, session: _WatchedSession, current: Callable[[], object]) -> None:
        self.owner: object = None
        self._depth = 0
        self._session = session
        self._current = current

    def __enter__(self) -> None:
        if self._session.is_finished:
            raise FinishedError(
                "this unit of work has ended; open a new one with `async with` where the work goes on later "
                "(a background task, a stream, a cached object)"
            )
        current = self._current()
        if self.owner is not None and self.owner is not current:
            raise ConcurrentUseError(
                f"{_name(current)} used a unit of work in which {_name(self.owner)} had a call under way; "
                "await the calls one after the other, or give each task a unit of work of its own"
            )
        self.owner = current
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        self.owner = None
        translated = self.translated(error)
        if translated is not None:
            raise translated from translated.__cause__ or error

    def translated(self, error: BaseException | None) -> LayeredError | None:
        """Return this library's error for *error*, where it is another's and has one."""
        if error is None:
            return None
        return translated_session_error(error, self._session.stack, self._session.engine.dialect.name)


def _name(owner: object) -> str:
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()!r}"
    return f"thread {getattr(owner, 'name', owner)!r}"


class _WatchedSession(Session):
    """The synchronous session inside a `GuardedSession`, through which each of its calls passes.

    What goes past the session is not watched: a `Connection` that was taken from it, and a result while it is streamed.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        current: Callable[[], object],
        info: dict[Any, Any] | None = None,
        bind: None = None,
        binds: None = None,
    ) -> None:
        super().__init__(info=info, expire_on_commit=False, close_resets_only=False)
        self.engine = engine
        self.stack = SavepointStack()
        self.turn = _Turn(self, current)
        self.has_begun = False
        self.is_finished = False
        self.before_begin: Callable[[], None] | None = None

    @property
    def _reaching(self) -> _Turn:
        """The turn, for a call that reaches the database."""
        if not in_greenlet():
            raise UnitOfWorkError(
                "an attribute that is not loaded was read, which cannot wait for the database; load it with the query, "
                "such as options=[selectinload(Parent.children)], or keep it from being expired by a rollback"
            )
        if not self.has_begun and self.before_begin is not None:
            self.before_begin()
        return self.turn

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
        return self.engine

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        with self._reaching:
            return super().execute(*args, **kwargs)

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        with self._reaching:
            return super().scalar(*args, **kwargs)

    def scalars(self, *args: Any, **kwargs: Any) -> Any:
        with self._reaching:
            return super().scalars(*args, **kwargs)

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        with self._reaching:
            return super().connection(*args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        frame = self.stack.top
        with self._reaching:
            try:
                super().flush(*args, **kwargs)
            except Exception as error:
                if not self.is_active:  # SQLAlchemy has rolled back, whatever failed
                    frame.error = frame.error or self.turn.translated(error) or error
                raise

    def add(self, *args: Any, **kwargs: Any) -> None:
        with self.turn:
            super().add(*args, **kwargs)

    def add_all(self, instances: Iterable[object]) -> None:
        with self.turn:
            super().add_all(instances)

    def delete(self, instance: object) -> None:
        with self.turn:
            super().delete(instance)

    def begin(self, nested: bool = False) -> SessionTransaction:
        if not nested:
            self._refuse("begin")
        with self.turn:
            return super().begin(nested)

    def commit(self) -> None:
        self._refuse("commit")

    def rollback(self) -> None:
        self._refuse("rollback")

    def close(self) -> None:
        self._refuse("close")

    def reset(self) -> None:
        self._refuse("reset")

    def invalidate(self) -> None:
        self._refuse("invalidate")

    def _refuse(self, verb: str) -> NoReturn:
        raise UnitOfWorkError(
            f"session.{verb}() would go past the unit of work, which commits when its block ends; leave it out, or call "
            "`await uow.commit()` or `await uow.rollback()`"
        )

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back, on behalf of the unit of work."""
        with self.turn:
            try:
                if commit:
                    super().commit()
                else:
                    super().rollback()
            finally:
                self.has_begun = False
        self.stack.clear()

    def finish(self) -> None:
        """Undo what is not committed and give the connection back, for good."""
        self.is_finished = True
        if not (self.in_transaction() or self.identity_map):
            return  # there is nothing to give back or to let go of
        try:
            super().close()
        except BaseException as error:
            super().invalidate()  # a connection that cannot even roll back is of use to nobody
            if not isinstance(error, Exception):
                raise
            _logger.debug("a connection could not be rolled back and was closed", exc_info=True)


@event.listens_for(_WatchedSession, "after_begin")
def _remember_stack(session: _WatchedSession, transaction: SessionTransaction, connection: Connection) -> None:
    remember_in(session.stack, connection)
    session.has_begun = True


class GuardedSession(AsyncSession):
    """The session of one unit of work. Lives as long as its block, and is bound to a transaction only while it has one.

    Bound to a plain `Engine` it never suspends, so that its coroutines can be driven without an event loop.
    """

    sync_session: _WatchedSession  # pyright: ignore[reportIncompatibleVariableOverride]  # set once, by the base class
    sync_session_class = _WatchedSession

    def __init__(self, engine: Engine, *, asynchronous: bool, info: dict[Any, Any] | None = None) -> None:
        current = _current_task if asynchronous else threading.current_thread
        super().__init__(engine=engine, current=current, info=info)
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
    def is_idle(self) -> bool:
        """Whether nothing has been asked of the session that its end must carry out or undo."""
        sync = self.sync_session
        return not (sync.in_transaction() or sync.turn.owner or self.stack.error or self.stack.top.hooks)

    async def stop_strays(self) -> ConcurrentUseError | None:
        """Cancel the task that still has a call under way, wait for its end, and return the error that says so.

        Closing the session under a running query would hand its connection, and its locks, to the next one.
        """
        error: ConcurrentUseError | None = None
        while (owner := self.sync_session.turn.owner) is not None:
            error = error or ConcurrentUseError(
                f"the block ended while {_name(owner)} had a call under way in its unit of work; it was cancelled and "
                "nothing was saved. Await every task inside the block"
            )
            if not isinstance(owner, asyncio.Task):
                break
            owner.cancel()
            await asyncio.wait(cast("set[asyncio.Task[Any]]", {owner}))
        return error

    async def commit_transaction(self) -> None:
        """Send COMMIT, on behalf of the unit of work."""
        await self.run_sync(lambda _: self.sync_session.end_transaction(commit=True))

    async def roll_back_transaction(self) -> None:
        """Send ROLLBACK, on behalf of the unit of work."""
        await self.run_sync(lambda _: self.sync_session.end_transaction(commit=False))

    async def finish(self) -> None:
        """Give the connection back; every later call raises FinishedError."""
        await self.run_sync(lambda _: self.sync_session.finish())

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Commit when the block ends, roll back when it raises, and finish: a small unit of work for the library itself."""
        try:
            yield
            await self.commit_transaction()
        finally:
            await self.finish()


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        raise UnitOfWorkError(
            "a unit of work that was opened with `async with` is used in a thread without an event loop; "
            "where this is a route or a dependency of FastAPI, write `async def` instead of `def`"
        ) from None
