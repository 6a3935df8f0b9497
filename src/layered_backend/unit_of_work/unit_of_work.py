"""The unit of work: one transaction, and the repositories that take part in it (Fowler, PoEAA: Unit of Work)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection

from layered_backend.database import Database
from layered_backend.errors import (
    CommitUnknownError,
    ConcurrentUseError,
    DatabaseUnavailableError,
    FinishedError,
    UnitOfWorkError,
)
from layered_backend.query import Scope
from layered_backend.query.scope import ActiveScopes, active_scopes
from layered_backend.repository import BaseRepository, repository_of
from layered_backend.session import GuardedSession, Hook, drive, rolled_back
from layered_backend.session.uninterrupted import at_once, uninterrupted
from layered_backend.unit_of_work.actor_names import name_of
from layered_backend.unit_of_work.hooks import run_hooks
from layered_backend.unit_of_work.open_units import entered_here, forget, remember
from layered_backend.unit_of_work.outcome import Outcome
from layered_backend.unit_of_work.repositories import declare_repositories
from layered_backend.unit_of_work.savepoint import Savepoint

__all__ = ["UnitOfWork"]

T = TypeVar("T")
RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])


class UnitOfWork:
    """One transaction: it commits when the block ends and rolls back when it raises. Lives as long as its block.

    Subclass it with a `database` and annotated repositories, which are built on first use:

        class ShopUnitOfWork(UnitOfWork):
            database = database
            items: ItemRepository

        async with ShopUnitOfWork() as uow:
            tea = await uow.items.one(Item.name == "tea")

    `with ShopUnitOfWork() as uow:` does the same without an event loop; `uow.run(...)` drives each coroutine. Entering
    the same object again joins it; another object is a transaction of its own. No connection is taken before the first
    statement, and none is held after the block.

    Args:
        database: Where to work; the class's own `database` unless it is given.
        read_only: Refuse writes.
        isolation_level: As SQLAlchemy's `isolation_level`; the class's own, else the database's, unless it is given.
        actor: Who works, for rules that depend on it.

    Raises:
        UnitOfWorkError: Neither the class nor the call names a database.
    """

    database: Database
    isolation_level: str | None = None
    begins_deferred: bool = False
    """On SQLite, take the write lock at the first write instead of at the first statement. Set it before entering."""
    scopes: Sequence[Scope] = ()
    """The criteria that every repository of this unit of work adds to its statements."""
    is_rerun: bool = False
    """Whether `transact` may run the work again, so that it cannot commit in mid-block."""

    def __init__(
        self,
        database: Database | None = None,
        *,
        read_only: bool = False,
        isolation_level: str | None = None,
        actor: Any = None,
    ) -> None:
        chosen = database or getattr(type(self), "database", None)
        if chosen is None:
            name = type(self).__name__
            raise UnitOfWorkError(f"{name} has no database; write `database = ...` in the class, or {name}(database)")
        self.database = chosen
        self.read_only = read_only
        self.isolation_level = isolation_level or self.isolation_level
        if str(self.isolation_level).upper() == "AUTOCOMMIT":
            raise ValueError("a unit of work is a transaction; its isolation level cannot be AUTOCOMMIT")
        self.actor = actor
        self._session: GuardedSession | None = None
        self._repositories: dict[tuple[type[BaseRepository[Any]], type[Any] | None], BaseRepository[Any]] = {}
        self._outcome = Outcome.OPEN
        self._due_hooks: list[Hook] = []
        self._owner: object = None
        self._depth = 0
        self._is_finished = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declare_repositories(cls, reserved=_RESERVED)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outcome}>"

    @property
    def session(self) -> GuardedSession:
        """The session, for what the repositories do not offer.

        Raises:
            UnitOfWorkError: The unit of work has not been entered.
            FinishedError: It has ended.
        """
        if self._is_finished:
            raise FinishedError(f"this {type(self).__name__} has ended; open a new one")
        if self._session is None:
            raise UnitOfWorkError(f"nothing is open yet; write `async with {type(self).__name__}() as uow:`")
        return self._session

    @property
    def outcome(self) -> Outcome:
        """What became of the transaction; open again when a statement follows `commit()` or `rollback()`."""
        return Outcome.OPEN if self.has_begun else self._outcome

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is open in the database."""
        return self._session is not None and self._session.has_begun and not self._is_finished

    @property
    def is_finished(self) -> bool:
        """Whether the block has ended, so that nothing can be done any more."""
        return self._is_finished

    def repository(self, repository_class: type[RepositoryT], model: type[Any] | None = None) -> RepositoryT:
        """Return the repository of that class which works in this transaction; the same one at each call.

        Args:
            repository_class: The class, or a generic one with its argument: `BaseRepository[Item]`.
            model: The mapped class, where the repository's class does not name it.
        """
        session, key = self.session, (repository_class, model)
        if key not in self._repositories:
            self._repositories[key] = repository_of(repository_class, session, model)
        return cast("RepositoryT", self._repositories[key])

    async def flush(self) -> None:
        """Send pending changes to the database, inside the transaction."""
        await self.session.flush()

    async def commit(self) -> None:
        """Commit now and run the hooks; the next statement begins a new transaction.

        Raises:
            UnitOfWorkError: Part of the work is not ready: the call is in a joined block, a savepoint or `transact`.
            RolledBackError: An error was caught that had already undone the work.
            CommitUnknownError: The connection was lost during COMMIT.
        """
        self._refuse_inside("commit")
        if self.is_rerun:
            raise UnitOfWorkError("commit() inside transact() would save a part of what may be run again; leave it out")
        await self._to_the_end(self._commit_and_run_hooks(self.session))

    async def rollback(self) -> None:
        """Undo everything since the transaction began, and drop the hooks; the next statement begins a new one.

        Raises:
            UnitOfWorkError: The call is in a joined block or a savepoint, which would go on without its beginning.
        """
        self._refuse_inside("rollback")
        await self._to_the_end(self._roll_back())

    def savepoint(self) -> Savepoint:
        """Return a block that can fail alone: its error undoes only what the block did.

            async with uow.savepoint():
                await uow.items.create(data)

        Pending changes are flushed before it opens. `with` works where the unit of work was opened with `with`.
        """
        return Savepoint(self.session)

    def on_commit(self, hook: Hook) -> None:
        """Run *hook* after the commit, in the order of the calls; not after a rollback.

        At most once: a process that dies between the commit and the hook never runs it. Where that matters, write the
        message into a table of the same transaction and send it from there (the outbox pattern). A hook that raises is
        logged and harms nothing.

        Args:
            hook: A function or a coroutine function without arguments.
        """
        self.session.stack.top.hooks.append(hook)

    def without(self, *names: str) -> AbstractContextManager[None]:
        """Return a block in which the scopes of those names do not hold; the others do.

            with uow.without("soft_delete"):
                deleted = await uow.items.list(Item.deleted_at.is_not(None))

        Raises:
            UnitOfWorkError: There is no scope of that name.
        """
        return active_scopes(self.session.info).without(*names)

    def actor_name(self) -> str | None:
        """Return what rows that are `Audited` keep of the actor: its `subject`, its `id`, or itself where it is text.

        Override it for another kind of actor; asked for when such a row is written, and None without an actor.

        Raises:
            UnitOfWorkError: The actor has none of these.
        """
        return name_of(self.actor, type(self))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drive *coroutine* to its end, inside `with`.

        Raises:
            UnitOfWorkError: The unit of work was opened with `async with`, or the coroutine awaits something other
                than the database.
        """
        if self._session is not None and self._session.is_asynchronous:
            coroutine.close()
            raise UnitOfWorkError(
                "run() belongs to `with`; under `async with` write `await`. A route of FastAPI must be `async def`"
            )
        return drive(coroutine)

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        """Yield what *iterator* yields, inside `with`."""
        while True:
            try:
                value = self.run(_next(iterator))
            except StopAsyncIteration:
                return
            yield value

    async def __aenter__(self) -> Self:
        return self._enter(asynchronous=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._leave(error)
        if session is None or self._is_finished:
            return
        try:
            if session.is_idle:
                session.sync_session.finish()
                self._end(session, error)
            elif session.awaits_nothing and self._outcome is not Outcome.UNKNOWN:
                await self._finish_for_nothing(session, error)
            else:
                await uninterrupted(self._finish(session, error))
        finally:
            forget(self)

    def __enter__(self) -> Self:
        if _is_in_event_loop():
            raise UnitOfWorkError("`with` would block the running event loop; write `async with`")
        return self._enter(asynchronous=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._leave(error)
        if session is None:
            return
        try:
            drive(self._finish(session, error))
        finally:
            forget(self)

    def _enter(self, *, asynchronous: bool) -> Self:
        if self._is_finished:
            raise FinishedError(f"a {type(self).__name__} is entered once; make a new one for each unit of work")
        if self._session is not None:
            asynchronous = self._session.is_asynchronous  # `run` drives an `async with` that joins
        current = asyncio.current_task() if asynchronous else threading.current_thread()
        if self._session is None:
            self._session = self.database.session(
                asynchronous=asynchronous,
                read_only=self.read_only,
                deferred=self.begins_deferred,
                isolation_level=self.isolation_level,
            )
            self._session.sync_session.before_begin = self._refuse_waiting_for_itself
            self._session.sync_session.actor_name = self.actor_name
            if self.scopes:
                ActiveScopes(self.scopes, lambda: self.actor).carry(self._session.info)
            self._owner = current
            remember(self)
        elif self._owner is not current:
            raise ConcurrentUseError("a unit of work is joined only by the task that opened it; open another one here")
        self._depth += 1
        return self

    def _refuse_waiting_for_itself(self) -> None:
        """Refuse to begin where that would wait for another unit of work of the same task, which waits for this one."""
        if any(other is not self and self._waits_for(other) for other in entered_here()):
            raise UnitOfWorkError(
                "SQLite has one writer, so this unit of work would wait for the one that the same task has open; "
                "use that one (enter the same object again), or open this one with read_only=True"
            )

    def _waits_for(self, other: UnitOfWork) -> bool:
        # Not the running task: at the end of the block another one flushes what is pending.
        is_open = other._owner is self._owner and not other._is_finished
        if other.database is not self.database or not (is_open and other.has_begun):
            return False
        return self.database.is_in_memory or (self._may_write() and other._may_write())

    def _may_write(self) -> bool:
        return self.database.dialect.transactions.has_one_writer and not (self.read_only or self.begins_deferred)

    async def end_if_abandoned(self) -> None:
        """Roll back, where the task that has to leave the block is gone, or is the running one, and will not."""
        owner = self._owner
        is_gone = owner is asyncio.current_task() or (isinstance(owner, asyncio.Task) and owner.done())
        if is_gone and self._session is not None and not self._is_finished:
            await uninterrupted(self._finish(self._session, GeneratorExit()))

    def _leave(self, error: BaseException | None) -> GuardedSession | None:
        """Return the session that is to be ended, or None where a block around this one goes on."""
        self._depth -= 1
        if self._depth == 0:
            return self._session
        if error is not None:
            self.session.stack.remember(error)
        return None

    async def _roll_back(self) -> None:
        undoes_something = self.has_begun or self._outcome is Outcome.OPEN
        await self.session.run_sync(lambda _: self.session.sync_session.end_transaction(commit=False))
        if undoes_something and self._outcome is not Outcome.UNKNOWN:  # that, no later rollback changes
            self._outcome = Outcome.ROLLED_BACK

    async def _to_the_end(self, coroutine: Coroutine[Any, Any, None]) -> None:
        await (uninterrupted(coroutine) if self.session.is_asynchronous else coroutine)

    async def _finish(self, session: GuardedSession, error: BaseException | None) -> None:
        """End the transaction and give the connection back, whatever happens on the way; then run the hooks."""
        stray: BaseException | None = None
        try:
            stray = await session.stop_strays()
        except BaseException as failure:
            stray = failure
            raise
        finally:
            try:
                await session.end(lambda: self._end_transaction(session, error, stray))
            finally:
                if self._due_hooks:
                    await self._run_due_hooks(session)

    async def _finish_for_nothing(self, session: GuardedSession, error: BaseException | None) -> None:
        """Do what `_finish` does, where the end makes no difference to anybody."""
        if error is None:
            self._outcome = Outcome.COMMITTED
        try:
            await at_once(session.finish() if error else session.finish_for_nothing())
        finally:
            self._end(session, error)

    def _end_transaction(
        self, session: GuardedSession, error: BaseException | None, stray: BaseException | None
    ) -> None:
        """Do in one go all that the database has to do with."""
        try:
            if error is None:
                if stray is not None:
                    raise stray
                self._commit(session)
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                session.sync_session.finish()
            finally:
                self._end(session, error)

    def is_open_here(self) -> bool:
        """Tell whether the running task, or thread, opened this unit of work and has not left it."""
        current = asyncio.current_task() if _is_in_event_loop() else threading.current_thread()
        return self._owner is current and not self._is_finished

    def _end(self, session: GuardedSession, error: BaseException | None) -> None:
        if session.has_begun or (self._outcome is Outcome.OPEN and error is not None):
            self._outcome = Outcome.ROLLED_BACK
        elif self._outcome is Outcome.OPEN:
            self._outcome = Outcome.COMMITTED
        self._is_finished = True

    def works_on(self, connection: Connection | None) -> bool:
        """Tell whether *connection* has the transaction of this unit of work."""
        session = None if self._is_finished else self._session
        return session is not None and connection is not None and session.sync_session.followed is connection

    async def _commit_and_run_hooks(self, session: GuardedSession) -> None:
        try:
            await session.end(lambda: self._commit(session))
        finally:
            await self._run_due_hooks(session)

    def _commit(self, session: GuardedSession) -> None:
        """Commit, unless an error that was caught has undone the work; the hooks are due then."""
        if self._outcome is Outcome.UNKNOWN:  # of a commit in mid-block, whose error was caught
            raise CommitUnknownError from session.stack.error
        _refuse_undone(session)
        session.sync_session.flush_pending()
        _refuse_undone(session)
        hooks = session.stack.hooks
        try:
            session.sync_session.end_transaction(commit=True)
        except BaseException as error:
            self._outcome = self._outcome_after(error, session)
            if self._outcome is Outcome.COMMITTED:  # a listener of the application's raised after the fact
                self._due_hooks = hooks
            if self._outcome is Outcome.UNKNOWN and isinstance(error, DatabaseUnavailableError):
                raise CommitUnknownError from error
            raise
        self._outcome = Outcome.COMMITTED
        self._due_hooks = hooks

    def _outcome_after(self, error: BaseException, session: GuardedSession) -> Outcome:
        """Tell what became of the transaction when *error* came out of its commit."""
        if session.is_committed:
            return Outcome.COMMITTED
        if not session.is_commit_sent:
            return Outcome.ROLLED_BACK
        is_unheard = (
            isinstance(error, DatabaseUnavailableError) and not self.database.dialect.transactions.answers_every_commit
        )
        return Outcome.UNKNOWN if is_unheard or not isinstance(error, Exception) else Outcome.ROLLED_BACK

    async def _run_due_hooks(self, session: GuardedSession) -> None:
        hooks, self._due_hooks = self._due_hooks, []
        await run_hooks(session, hooks)

    def _refuse_inside(self, verb: str) -> None:
        if self._depth > 1:
            raise UnitOfWorkError(f"{verb}() in a joined block would end the work of the block around it; leave it out")
        if self.session.in_nested_transaction():
            raise UnitOfWorkError(f"{verb}() inside a savepoint would end the savepoint too; call it after the block")


_RESERVED = frozenset(
    name for name, value in vars(UnitOfWork).items() if callable(value) or isinstance(value, property)
)


def _refuse_undone(session: GuardedSession) -> None:
    if session.stack.error is not None:
        raise rolled_back(session.stack.error)


async def _next(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
