"""The synchronous session inside a guarded one: whatever reaches the database passes through it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, SessionTransaction

from layered_backend.dialects import Transactions, dialect_named
from layered_backend.errors import RolledBackError, UnitOfWorkError
from layered_backend.session.call import SessionCall
from layered_backend.session.connection import guard_connection
from layered_backend.session.errors import refuse, rolled_back
from layered_backend.session.identity_keeping import keep_identity
from layered_backend.session.lazy_load_error import EXPIRE_CALLED, raise_lazy_load_error
from layered_backend.session.owner import Owner, SessionOwner
from layered_backend.session.savepoint import OpenSavepoint
from layered_backend.session.transaction_state import TransactionState
from layered_backend.session.transaction_view import view_of
from layered_backend.session.unbegun_reads import TransactionNeededError, UnbegunReads
from layered_backend.upstream.sqlalchemy.concurrency import is_in_greenlet
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.sqlalchemy.session import roll_back_as_flush

__all__ = ["GuardedSyncSession"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")
_NOT_AWAITED = "nothing awaits the database here; call the asynchronous session's method and await it"


class GuardedSyncSession(Session):
    """The synchronous session inside a `GuardedSession`, through which each of its calls passes.

    Attributes:
        owner: Who has a call under way.
        state: The state of the transaction.
        unbegun_reads: How to read before a transaction has begun; None where every read is in the transaction.
        guarded_connection: The transaction's connection; None before the first one, and in the end.
        before_begin: A function that is called before a transaction begins, so that it can refuse.
        block: The savepoint whose block is the innermost one; None outside of all.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        current: Callable[[], Owner | None],
        unbegun_reads: UnbegunReads | None = None,
        info: dict[Any, Any] | None = None,
        bind: None = None,
        binds: None = None,
    ) -> None:
        super().__init__(bind=engine, info=info, expire_on_commit=False, close_resets_only=False)
        self.engine = engine
        self.transactions: Transactions = dialect_named(engine.dialect.name).transactions
        self.owner: SessionOwner = SessionOwner(current)
        self.state: TransactionState = TransactionState()
        self.unbegun_reads = unbegun_reads
        self.guarded_connection: Connection | None = None
        self.before_begin: Callable[[], None] | None = None
        self._call = SessionCall(self.owner, self.state, engine.dialect.name)
        self.block: OpenSavepoint | None = None
        self._opens_savepoint = False
        self._is_flushing = False
        self._notes_reads = False
        self._expired_when: dict[str, None] = {}

    @property
    def _reaching(self) -> SessionCall:
        """A call that reaches the database."""
        if not is_in_greenlet():
            raise UnitOfWorkError(_NOT_AWAITED)
        if not self.state.has_begun and self.before_begin is not None:
            self.before_begin()
        if self.block is not None:
            self.block.refuse_statement()
        return self._call

    # What reads and writes.

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
        return self.engine

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if not is_in_greenlet():
            self._refuse_lazy_load(*args, **kwargs)
        with self._reaching:
            return super().execute(*args, **kwargs)

    def _refuse_lazy_load(self, *args: Any, **kwargs: Any) -> None:
        """Say which attribute, as it is read, wants to load itself."""
        expired_when = tuple(self._expired_when)

        def refuse_load(load: ORMExecuteState) -> NoReturn:
            if load.is_column_load or load.is_relationship_load:
                raise_lazy_load_error(load, expired_when)
            raise UnitOfWorkError(_NOT_AWAITED)

        event.listen(self, "do_orm_execute", refuse_load, insert=True)
        try:
            super().execute(*args, **kwargs)
        finally:
            event.remove(self, "do_orm_execute", refuse_load)

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
            reads = self.unbegun_reads
            if reads is not None and not self.state.has_begun and not self._is_transaction_heard:
                try:
                    with reads.engine.connect() as connection:
                        guard_connection(connection, self.owner, self.state)
                        return work(connection)
                except TransactionNeededError:
                    self.unbegun_reads = None
            return work(super().connection())

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run *work* on the transaction's connection, past the entities, after what is pending has been written."""
        self.flush_pending()
        with self._reaching:
            return work(super().connection())

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to flush."""
        return not (self.new or self.deleted or self.dirty)

    def flush_pending(self) -> None:
        """Flush, unless there is nothing to write."""
        if not self.is_clean:
            self.flush()

    def flush(self, *args: Any, **kwargs: Any) -> None:
        if self._opens_savepoint or (self.owner.depth and self.is_clean):  # as each query of ours has it
            return
        self._flush_by(partial(super().flush, *args, **kwargs))

    def flush_by(self, write: Callable[[Connection], None]) -> None:
        """Run *write* in place of a flush, on the transaction's connection: an error undoes as much as there."""

        def flush() -> None:
            connection = super(GuardedSyncSession, self).connection()
            try:
                write(connection)
            except BaseException:
                roll_back_as_flush(self)
                raise

        self._flush_by(flush)

    def _flush_by(self, flush: Callable[[], None]) -> None:
        """Run *flush*, and book an error of it in the frame that it has undone."""
        state, frame, is_inner = self.state, self.state.top, self._is_flushing
        error_before, was_active = state.error, self.is_active
        with self._reaching:
            self._is_flushing = True
            try:
                flush()
            except BaseException as error:
                # MariaDB undoes the whole transaction after a deadlock, so that SQLAlchemy's rollback to the savepoint fails
                # in turn. The deadlock, which nobody has caught, says why.
                cause = state.error if error_before is None and isinstance(error, RolledBackError) else None
                # SQLAlchemy has rolled back the savepoint, or the transaction, that the flush was in, whatever has failed.
                # If it had done so before, the error of that was caught, and is booked in its own frame.
                if was_active and not self.is_active:
                    frame.error = frame.error or cause or self._call.translated(error) or error
                if cause is not None:
                    raise cause from cause.__cause__
                raise
            finally:
                self._is_flushing = is_inner

    def add(self, *args: Any, **kwargs: Any) -> None:
        with self._call:
            super().add(*args, **kwargs)

    def add_all(self, instances: Iterable[object]) -> None:
        with self._call:
            super().add_all(instances)

    def delete(self, instance: object) -> None:
        with self._call:
            super().delete(instance)

    def call(self, work: Callable[[], T]) -> T:
        """Run *work* as a call of the session: in turn, and its errors translated."""
        with self._call:
            return work()

    # Savepoints.

    def begin(self, nested: bool = False) -> SessionTransaction:
        if not nested:
            refuse("session.begin()")
        with self._call:
            self._flush_apart()
            savepoint = super().begin(nested)
            try:
                self.connection()  # sends SAVEPOINT now; before the first statement, an error would be the outer block's
            except BaseException:
                savepoint.rollback()
                raise
            if not self._notes_reads:  # from the first savepoint on
                self._notes_reads = True
                event.listen(self, "loaded_as_persistent", _note_loaded)
            return cast("SessionTransaction", OpenSavepoint(self, savepoint))

    def _flush_apart(self) -> None:
        """Flush what is pending in a savepoint of its own, before another one opens.

        What is pending belongs to the work around the savepoint, and outlives it. Where the flush fails, it undoes the
        pending changes alone: the caller, who catches the error around the block, has lost nothing else.
        """
        if self.is_clean or self._is_flushing:  # a listener of the flush opens it, and what is pending is on its way
            return
        with self._flush_postponed():
            apart = super().begin(nested=True)
        try:
            self.connection()  # sends SAVEPOINT
            self.flush()
        except BaseException:
            apart.rollback()
            raise
        apart.commit()

    @contextmanager
    def _flush_postponed(self) -> Generator[None]:
        """Keep SQLAlchemy from flushing before SAVEPOINT."""
        self._opens_savepoint = True
        try:
            yield
        finally:
            self._opens_savepoint = False

    def forget_pending(self) -> None:
        """Forget what is pending, as a rollback does: what was added, changed and deleted since has nobody to write it."""
        for added in self.new:
            self.expunge(added)
        for deleted in self.deleted:
            super().add(deleted)
        for changed in self.dirty:
            super().expire(changed)
            keep_identity(changed)

    def keep_identities(self, undone: SessionTransaction) -> None:
        """Give the entities that a rollback has expired their keys back: it has not changed them.

        The caller needs the keys to read the rows again, or to name them in an error. SQLAlchemy has expired those that the
        session has changed; one that was read in the savepoint may show what a statement had changed.
        """
        reads = [*self.state.undone_reads]
        self.state.undone_reads.clear()
        for entity in (state.obj() for state in reads):
            if entity is not None and entity in self:
                super().expire(entity)
        if undone.nested:
            self._expired_when["a savepoint was rolled back"] = None
        else:  # which has expired every entity
            self._expired_when = {"the unit of work was rolled back": None}
        for entity in self.identity_map.values():
            keep_identity(entity)

    def expire(self, instance: object, attribute_names: Iterable[str] | None = None) -> None:
        names = None if attribute_names is None else {*attribute_names}
        super().expire(instance, names)
        state: InstanceState[Any] = inspect(instance, raiseerr=True)
        if names is None or names & {*state.mapper.column_attrs.keys()}:  # relationships tell their own error
            self._expired_when[EXPIRE_CALLED] = None

    def expire_all(self) -> None:
        self._expired_when[EXPIRE_CALLED] = None
        super().expire_all()

    # What belongs to the unit of work.

    def commit(self) -> None:
        refuse("session.commit()")

    def rollback(self) -> None:
        refuse("session.rollback()")

    def close(self) -> None:
        refuse("session.close()")

    def reset(self) -> None:
        refuse("session.reset()")

    def invalidate(self) -> None:
        refuse("session.invalidate()")

    def get_transaction(self) -> SessionTransaction | None:
        """Return the transaction, to look at; its end belongs to the unit of work."""
        return view_of(super().get_transaction())

    def get_nested_transaction(self) -> SessionTransaction | None:
        """Return the savepoint that is open, to look at; its end belongs to its block."""
        return view_of(super().get_nested_transaction())

    # The end of the transaction, on behalf of the unit of work.

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back."""
        state = self.state
        with self._call:
            state.is_commit_sent = state.is_committed = False  # of an earlier transaction
            self._close_streams(is_fatal=commit)
            self.unbegun_reads = None  # the outcome of what follows is that of a transaction
            state.is_ending = True
            try:
                if commit:
                    self._commit()
                else:
                    super().rollback()
            except BaseException:
                if state.is_commit_sent or not commit:
                    self._undo_on_connection()
                self._leave_committed()
                raise
            finally:
                state.is_ending = False
                if not commit:
                    state.begin_anew()
                # A listener that forbids the commit leaves the transaction open.
                state.has_begun = state.has_begun and not state.is_commit_sent and self.in_transaction()
                state.is_ended_by_database = state.is_ended_by_database and state.has_begun

    def _commit(self) -> None:
        """Commit. A listener may have caught an error that has undone the work, as any other caller may."""
        if not is_heard(self, "before_commit"):
            super().commit()
            return
        event.listen(self, "before_commit", _refuse_undone)  # the last one
        try:
            super().commit()
        finally:
            event.remove(self, "before_commit", _refuse_undone)

    def _undo_on_connection(self) -> None:
        """Leave no transaction open after a COMMIT or a ROLLBACK that has failed: SQLAlchemy takes it for ended.

        A listener of the engine may have raised before the statement was sent, or the database has only answered it with
        an error. In the pool the transaction would become a part of the next one. Where it has ended, this does nothing.
        """
        connection = self.guarded_connection
        if connection is None or connection.closed or connection.invalidated:
            return
        try:
            connection.dialect.do_rollback(connection.connection)
        except Exception:
            _logger.debug("a connection could not be rolled back and was closed", exc_info=True)
            connection.invalidate()

    def _leave_committed(self) -> None:
        """Leave a transaction that is committed, where a listener has raised since: SQLAlchemy keeps the session in it."""
        transaction = super().get_transaction()
        if self.state.is_committed and transaction is not None:
            transaction.close()

    def _close_streams(self, *, is_fatal: bool) -> None:
        try:
            self.state.close_streams()
        except Exception as error:
            if is_fatal:  # the database may have taken offence, and would answer COMMIT with a rollback
                self.state.remember(error, undoes_all=True)
                raise rolled_back(error) from error
            _logger.debug("a streamed result could not be closed", exc_info=True)

    @property
    def awaits_end(self) -> bool:
        """Whether the end of the transaction makes a difference to the database."""
        connection = self.guarded_connection if self.state.has_begun else None
        if connection is None:
            return False
        if connection.closed or connection.invalidated or self.state.streams:
            return True
        is_begun = self.unbegun_reads is None or self.unbegun_reads.has_begun(connection)
        return is_begun and self.transactions.awaits_end(connection)

    @property
    def is_commit_heard(self) -> bool:
        """Whether somebody wants to know of a COMMIT, be it of nothing."""
        return is_heard(self, "before_commit", "after_commit") or is_heard(self.engine, "commit")

    @property
    def _is_transaction_heard(self) -> bool:
        """Whether somebody besides us wants to know of the transaction's beginning or of its end."""
        return is_heard(self, "after_begin", besides=1) or is_heard(self.engine, "begin") or self.is_commit_heard

    def finish(self) -> None:
        """Undo what is not committed and give the connection back, for good."""
        try:
            if self.in_transaction() or self.identity_map:
                self._give_back()
        finally:
            self.owner.close()
            # These know the session: no cycle is left to be collected.
            self.guarded_connection = self.before_begin = self.block = self.state.actor_name = None

    def _give_back(self) -> None:
        with self.owner:
            if self.state.streams:
                self._close_streams(is_fatal=False)
            self.state.is_ending = True
            try:
                super().close()
            except BaseException as error:
                super().invalidate()  # a connection that cannot even roll back is of use to nobody
                if self.guarded_connection is not None:  # of which the session knows nothing any more
                    self.guarded_connection.invalidate()
                    self.guarded_connection.close()
                if not isinstance(error, Exception):
                    raise
                _logger.debug("a connection could not be rolled back and was closed", exc_info=True)
            finally:
                self.state.is_ending = False


def _refuse_undone(session: GuardedSyncSession) -> None:
    """Refuse to commit after an error that has undone the work: PostgreSQL would answer with success and save nothing."""
    session.flush_pending()
    if session.state.error is not None:
        raise rolled_back(session.state.error)


@event.listens_for(GuardedSyncSession, "after_begin")
def _guard_connection(session: GuardedSyncSession, transaction: SessionTransaction, connection: Connection) -> None:
    guard_connection(connection, session.owner, session.state)
    session.guarded_connection = connection
    session.state.has_begun = True
    if session.transactions.commits_each_statement(connection):
        refusal = UnitOfWorkError(
            "a unit of work is a transaction; its connection cannot be set to AUTOCOMMIT, where nothing could be undone"
        )
        session.state.remember(refusal, undoes_all=True)
        session.state.is_ended_by_database = True  # no statement is taken, should somebody catch this
        raise refusal


@event.listens_for(GuardedSyncSession, "after_soft_rollback")
def _keep_identities(session: GuardedSyncSession, undone: SessionTransaction) -> None:
    session.keep_identities(undone)


def _note_loaded(session: GuardedSyncSession, entity: object) -> None:
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    session.state.note_read(state)


@event.listens_for(Mapper, "refresh")
def _note_refreshed(entity: object, context: object, attributes: object) -> None:
    """Note an entity that was read again, or of which more was read."""
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    if isinstance(state.session, GuardedSyncSession):
        state.session.state.note_read(state)
