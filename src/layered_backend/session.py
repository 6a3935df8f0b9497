"""The guarded session: an `AsyncSession` that cannot be misused without being told.

Three guards, each for a fault that was seen to lose or corrupt data:

- `SavepointStack`: a database error that was caught and forgotten. PostgreSQL then answers COMMIT with success and saves
  nothing, SQLite saves the rest; so the first error is remembered until a savepoint or a rollback undoes it.
- `_Turn`: two tasks in one session. A query beside a commit left a connection in a state that broke the next,
  unrelated session; so a call that begins while another task's is under way is refused.
- `_WatchedSession`: a session that is used when it is no longer, or that commits by itself, past its unit of work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.exc import StaleDataError

from layered_backend.dialects import Reading, dialect_named
from layered_backend.dialects.constraints import completed, statement_table
from layered_backend.errors import (
    ConcurrentUseError,
    DatabaseUnavailableError,
    FinishedError,
    ForeignKeyViolationError,
    InvalidDataError,
    LayeredError,
    ReadOnlyError,
    RolledBackError,
    StaleError,
    UnitOfWorkError,
)

__all__ = ["Frame", "GuardedSession", "Hook", "SavepointStack", "describe", "drive", "rolled_back", "watch"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")

Hook = Callable[[], Awaitable[object] | object]
"""What runs after a commit: a function, or a coroutine function, without arguments."""


@dataclass(slots=True)
class Frame:
    """What happened since a savepoint was opened; the outermost frame is the transaction.

    Attributes:
        savepoint: The name of the savepoint, None for the transaction.
        error: The first error that nothing has undone yet.
        hooks: What is to run after the commit.
    """

    savepoint: str | None = None
    error: BaseException | None = None
    hooks: list[Hook] = field(default_factory=list[Hook])


class SavepointStack:
    """The errors and hooks of a transaction, by savepoint: what a savepoint's rollback undoes is forgotten with it."""

    def __init__(self) -> None:
        self._frames = [Frame()]

    @property
    def top(self) -> Frame:
        return self._frames[-1]

    @property
    def error(self) -> BaseException | None:
        """The first error that nothing has undone, in whichever frame."""
        return next((frame.error for frame in self._frames if frame.error), None)

    def remember(self, error: BaseException) -> None:
        self.top.error = self.top.error or error

    def push(self, savepoint: str) -> None:
        self._frames.append(Frame(savepoint))

    def discard(self, savepoint: str) -> None:
        """Forget what happened since *savepoint* was opened, as its rollback has undone it."""
        while len(self._frames) > 1 and self._frames.pop().savepoint != savepoint:
            pass

    def merge(self, savepoint: str) -> None:
        """Hand what happened since *savepoint* was opened to the frame around it, as its release does."""
        while len(self._frames) > 1:
            frame = self._frames.pop()
            self.top.error = self.top.error or frame.error
            self.top.hooks += frame.hooks
            if frame.savepoint == savepoint:
                return

    def clear(self) -> None:
        self._frames = [Frame()]


_COLUMN_TYPE_REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_DRIVER_REFUSALS = (OverflowError, TypeError, UnicodeError)

_stacks: WeakKeyDictionary[Connection, SavepointStack] = WeakKeyDictionary()
"""Which transaction a connection works for, so that an error of the connection itself is remembered too."""


def watch(engine: Engine) -> None:
    """Translate the errors of *engine*'s driver, and follow its savepoints."""
    event.listen(engine, "handle_error", _handle_error)
    event.listen(engine, "savepoint", _on_savepoint)
    event.listen(engine, "rollback_savepoint", _on_rollback_savepoint)
    event.listen(engine, "release_savepoint", _on_release_savepoint)


def _handle_error(context: ExceptionContext) -> LayeredError | None:
    translated = _translated_driver_error(context)
    # A mistake found on the client's side, such as a missing parameter, has not touched the transaction.
    if context.connection is not None and isinstance(context.original_exception, context.dialect.loaded_dbapi.Error):
        stack = _stacks.get(context.connection)
        if stack is not None:
            stack.remember(translated or context.sqlalchemy_exception or context.original_exception)
    return translated


def _on_savepoint(connection: Connection, name: str) -> None:
    if connection in _stacks:
        _stacks[connection].push(name)


def _on_rollback_savepoint(connection: Connection, name: str, context: None) -> None:
    if connection in _stacks:
        _stacks[connection].discard(name)


def _on_release_savepoint(connection: Connection, name: str, context: None) -> None:
    if connection in _stacks:
        _stacks[connection].merge(name)


def _translated_driver_error(context: ExceptionContext) -> LayeredError | None:
    original = context.original_exception
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        return _translated_value_error(context)
    dialect = dialect_named(context.dialect.name)
    reading = dialect.read(original)
    if reading is not None:
        reading = completed(dialect.probe(context, reading), statement_table(context), context.dialect)
        return _raised(reading, context)
    is_connecting = context.connection is None
    return DatabaseUnavailableError() if context.is_disconnect or is_connecting else None


def _raised(reading: Reading, context: ExceptionContext) -> LayeredError:
    if reading.error is RolledBackError:
        return RolledBackError("an earlier statement failed; the database ignores all others until the rollback")
    if reading.error is ReadOnlyError:
        return ReadOnlyError("the unit of work is read-only; open one without read_only=True to write")
    facts: dict[str, Any] = {
        "constraint": reading.constraint,
        "table": reading.table,
        "columns": reading.columns,
    }
    if reading.error is ForeignKeyViolationError:
        is_deleting = getattr(context.execution_context, "isdelete", None)
        return ForeignKeyViolationError(is_referred_to=is_deleting, **facts)
    return reading.error(reading.sentence, **facts)


def _translated_value_error(context: ExceptionContext) -> LayeredError | None:
    """Translate what a column type or the driver says of a value, before the database sees it."""
    if context.statement is None:
        return None  # it is a value that came back
    by_column_type = context.execution_context is None
    refusals = _COLUMN_TYPE_REFUSALS if by_column_type else _DRIVER_REFUSALS
    return InvalidDataError() if isinstance(context.original_exception, refusals) else None


def _translated_session_error(error: BaseException, stack: SavepointStack) -> LayeredError | None:
    """Translate the errors that arise above the driver."""
    match error:
        case sqlalchemy.exc.PendingRollbackError():
            return rolled_back(stack.error or error)
        case StaleDataError():
            return StaleError()
        case sqlalchemy.exc.TimeoutError():
            return DatabaseUnavailableError("no pooled connection became free in time")
        case OSError() | TimeoutError():  # asyncpg and asyncmy do not wrap what the socket says
            return DatabaseUnavailableError()
        case _:
            return None


def rolled_back(first: BaseException) -> RolledBackError:
    """Return the error that refuses to commit after *first* was caught, with *first* as its cause."""
    refusal = RolledBackError(
        f"{describe(first)} was caught, but it had already undone this unit of work; nothing was saved. Wrap the "
        "statement in `async with uow.savepoint():`, call `await uow.rollback()`, or let the error out."
    )
    refusal.__cause__ = first
    return refusal


def describe(error: BaseException) -> str:
    """Return *error*'s class and, where it is known, its place: `UniqueViolationError on items.name`."""
    table, columns = getattr(error, "table", None), getattr(error, "columns", ())
    place = ".".join(filter(None, (table, ", ".join(columns))))
    return f"{type(error).__name__} on {place}" if place else type(error).__name__


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
        if error is not None:
            translated = _translated_session_error(error, self._session.stack)
            if translated is not None:
                raise translated from translated.__cause__ or error


def _name(owner: object) -> str:
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()!r}"
    return f"thread {getattr(owner, 'name', owner)!r}"


class _WatchedSession(Session):
    """The synchronous session inside a `GuardedSession`; everything that reaches the database passes through it."""

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

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
        return self.engine

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        with self.turn:
            return super().execute(*args, **kwargs)

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        with self.turn:
            return super().scalar(*args, **kwargs)

    def scalars(self, *args: Any, **kwargs: Any) -> Any:
        with self.turn:
            return super().scalars(*args, **kwargs)

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        with self.turn:
            return super().connection(*args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        with self.turn:
            super().flush(*args, **kwargs)

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
        try:
            super().close()
        except BaseException as error:
            super().invalidate()  # a connection that cannot even roll back is of use to nobody
            if not isinstance(error, Exception):
                raise
            _logger.debug("a connection could not be rolled back and was closed", exc_info=True)


@event.listens_for(_WatchedSession, "after_begin")
def _remember_stack(session: _WatchedSession, transaction: SessionTransaction, connection: Connection) -> None:
    _stacks[connection] = session.stack
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

        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            """Execute a statement and return its buffered result, as `AsyncSession.execute` does."""
            if self.is_asynchronous:
                return await super().execute(*args, **kwargs)
            # The base class would wait for the cursor to close, which only an asynchronous driver's cursor does.
            return self.sync_session.execute(*args, **kwargs)

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


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end without an event loop: over a plain `Engine` it never suspends.

    Raises:
        UnitOfWorkError: It awaits something other than the database.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    except RuntimeError as error:
        if str(error) != "no running event loop":
            raise
    coroutine.close()
    name = getattr(coroutine, "__qualname__", "the coroutine")
    raise UnitOfWorkError(
        f"{name} awaits something other than the database (a sleep, a request, a lock), "
        "which needs an event loop; write `async with` for the unit of work"
    )
