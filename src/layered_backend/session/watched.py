"""The synchronous session inside a guarded one: whatever reaches the database passes through it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import safe_reraise
from sqlalchemy.util.concurrency import in_greenlet

from layered_backend.dialects import TransactionNeededError, dialect_named
from layered_backend.errors import LayeredError, RolledBackError, UnitOfWorkError
from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.translation import rolled_back, translated_session_error
from layered_backend.session.turn import Owner, Turn
from layered_backend.session.unloaded import refuse_unloaded
from layered_backend.session.watching import follow, refuse

__all__ = ["WatchedSession"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


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
        self.transactions = dialect_named(engine.dialect.name).transactions
        self.stack = SavepointStack()
        self.turn = Turn(current, streams_alone=self.transactions.streams_alone)
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
        return (
            followed.closed or followed.invalidated or self.turn.is_streaming or self.transactions.awaits_end(followed)
        )

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
