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
from layered_backend.database.configuration import refuse_autocommit
from layered_backend.errors import ConcurrentUseError, FinishedError, UnitOfWorkError
from layered_backend.query import Scope
from layered_backend.query.scope import ActiveScopes, active_scopes
from layered_backend.repository import BaseRepository, repository_of
from layered_backend.session import GuardedSession, Hook, drive
from layered_backend.unit_of_work.completion import Completion, Outcome
from layered_backend.unit_of_work.open_units import entered_here, forget, remember
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
        refuse_autocommit(self.isolation_level)
        self.actor = actor
        self._session: GuardedSession | None = None
        self._completion: Completion | None = None
        self._repositories: dict[tuple[type[BaseRepository[Any]], type[Any] | None], BaseRepository[Any]] = {}
        self._owner: object = None
        self._depth = 0

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
        if self.is_finished:
            raise FinishedError(f"this {type(self).__name__} has ended; open a new one")
        if self._session is None:
            raise UnitOfWorkError(f"nothing is open yet; write `async with {type(self).__name__}() as uow:`")
        return self._session

    @property
    def outcome(self) -> Outcome:
        """The fate of the transaction; open again when a statement follows `commit()` or `rollback()`."""
        return Outcome.OPEN if self._completion is None else self._completion.outcome

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is open in the database."""
        return self._completion is not None and self._completion.has_begun

    @property
    def is_finished(self) -> bool:
        """Whether the block has ended, so that nothing can be done any more."""
        return self._completion is not None and self._completion.is_finished

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
        completion = self._completion_outside_of_blocks("commit")
        if self.is_rerun:
            raise UnitOfWorkError("commit() inside transact() would save a part of what may be run again; leave it out")
        await completion.commit()

    async def rollback(self) -> None:
        """Undo everything since the transaction began, and drop the hooks; the next statement begins a new one.

        Raises:
            UnitOfWorkError: The call is in a joined block or a savepoint, which would go on without its beginning.
        """
        await self._completion_outside_of_blocks("rollback").roll_back()

    def _completion_outside_of_blocks(self, verb: str) -> Completion:
        if self._depth > 1:
            raise UnitOfWorkError(f"{verb}() in a joined block would end the work of the block around it; leave it out")
        if self.session.in_nested_transaction():
            raise UnitOfWorkError(f"{verb}() inside a savepoint would end the savepoint too; call it after the block")
        assert self._completion is not None  # with the session
        return self._completion

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
        self.session.state.top.hooks.append(hook)

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
        if self.actor is None or isinstance(self.actor, str):
            return self.actor
        for attribute in ("subject", "id"):
            name = getattr(self.actor, attribute, None)
            if name is not None:
                return str(name)
        raise UnitOfWorkError(
            f"an actor of type {type(self.actor).__name__} has neither subject nor id; override "
            f"{type(self).__name__}.actor_name() to say what rows keep of it"
        )

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
        completion = self._leave(error)
        if completion is not None:
            try:
                await completion.end(error)
            finally:
                forget(self)

    def __enter__(self) -> Self:
        if _is_in_event_loop():
            raise UnitOfWorkError("`with` would block the running event loop; write `async with`")
        return self._enter(asynchronous=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        completion = self._leave(error)
        if completion is not None:
            try:
                drive(completion.end(error))
            finally:
                forget(self)

    def _enter(self, *, asynchronous: bool) -> Self:
        """Open the unit of work, or join it where this task has it open."""
        if self.is_finished:
            raise FinishedError(f"a {type(self).__name__} is entered once; make a new one for each unit of work")
        if self._session is not None:
            asynchronous = self._session.is_asynchronous  # `run` drives an `async with` that joins
        current = asyncio.current_task() if asynchronous else threading.current_thread()
        if self._session is None:
            self._open(asynchronous=asynchronous)
            self._owner = current
            remember(self)
        elif self._owner is not current:
            raise ConcurrentUseError("a unit of work is joined only by the task that opened it; open another one here")
        self._depth += 1
        return self

    def _open(self, *, asynchronous: bool) -> GuardedSession:
        """Make the session, which takes no connection before its first statement."""
        session = self.database.session(
            asynchronous=asynchronous,
            read_only=self.read_only,
            deferred=self.begins_deferred,
            isolation_level=self.isolation_level,
        )
        session.inner.before_begin = self._refuse_waiting_for_itself
        session.state.actor_name = self.actor_name
        if self.scopes:
            ActiveScopes(self.scopes, lambda: self.actor).carry(session.info)
        self._session, self._completion = session, Completion(session)
        return session

    def _refuse_waiting_for_itself(self) -> None:
        """Refuse to begin where that would wait for another unit of work of the same task, which waits for this one."""
        entered = (other for other in entered_here() if isinstance(other, UnitOfWork) and other is not self)
        if any(self._waits_for(other) for other in entered):
            raise UnitOfWorkError(
                "SQLite has one writer, so this unit of work would wait for the one that the same task has open; "
                "use that one (enter the same object again), or open this one with read_only=True"
            )

    def _waits_for(self, other: UnitOfWork) -> bool:
        # Not the running task: at the end of the block another one flushes what is pending.
        is_open = other._owner is self._owner and not other.is_finished
        if other.database is not self.database or not (is_open and other.has_begun):
            return False
        return self.database.is_in_memory or (self._may_write() and other._may_write())

    def _may_write(self) -> bool:
        return self.database.dialect.transactions.has_one_writer and not (self.read_only or self.begins_deferred)

    async def end_if_abandoned(self) -> None:
        """Roll back, where the task that has to leave the block is gone, or is the running one, and will not."""
        owner = self._owner
        is_gone = owner is asyncio.current_task() or (isinstance(owner, asyncio.Task) and owner.done())
        if is_gone and self._completion is not None:
            await self._completion.end(GeneratorExit())

    def _leave(self, error: BaseException | None) -> Completion | None:
        """Return the completion that is due, or None where a block around this one goes on."""
        self._depth -= 1
        if self._depth == 0:
            return self._completion
        if error is not None:
            self.session.state.remember(error)
        return None

    def is_open_here(self) -> bool:
        """Tell whether the running task, or thread, opened this unit of work and has not left it."""
        current = asyncio.current_task() if _is_in_event_loop() else threading.current_thread()
        return self._owner is current and not self.is_finished

    def works_on(self, connection: Connection | None) -> bool:
        """Tell whether *connection* has the transaction of this unit of work."""
        session = None if self.is_finished else self._session
        return session is not None and connection is not None and session.inner.guarded_connection is connection


_RESERVED = frozenset(
    name for name, value in vars(UnitOfWork).items() if callable(value) or isinstance(value, property)
)


async def _next(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
