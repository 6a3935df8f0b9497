"""The connection of a transaction: guarded for its session, whoever uses it, with errors in this library's terms."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, NestedTransaction, RootTransaction, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

from layered_backend.dialects import dialect_named
from layered_backend.errors import DatabaseUnavailableError, LayeredError, RolledBackError, UnitOfWorkError
from layered_backend.session.errors import (
    has_ended_transaction,
    refuse,
    translated_driver_error,
    translated_session_error,
    undoes_transaction,
)
from layered_backend.session.owner import SessionOwner
from layered_backend.session.stream import StreamedCursor
from layered_backend.session.transaction_control import PLAIN_STATEMENTS, transaction_control_in
from layered_backend.session.transaction_state import TransactionState
from layered_backend.session.transaction_view import view_of
from layered_backend.upstream.sqlalchemy.concurrency import run_in_greenlet
from layered_backend.upstream.sqlalchemy.connection import (
    ObservedConnection,
    is_internal_probe,
    observe,
    replace_cursor,
)

__all__ = ["guard_connection", "guard_engine", "read_in_autocommit", "state_of"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")


class GuardedConnection(ObservedConnection):
    """A connection that works for a session. Lives as long as the transaction.

    A caller who takes it from the session takes the session's turn with each statement, and ends nothing.

    Attributes:
        owner: Who uses the session now.
        state: The session's transaction.
        streams_alone: Whether a statement would cost the rest of a result that is being streamed.
    """

    owner: SessionOwner
    state: TransactionState
    streams_alone: bool

    @property
    def actor_name(self) -> Callable[[], str | None] | None:
        """Tells who works, for rows that keep it; `layered_backend.models` looks for it by name."""
        return self.state.actor_name

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_statement()
        with self.owner:
            return super().execute(*args, **kwargs)

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_statement()
        with self.owner:
            return super().scalar(*args, **kwargs)

    def exec_driver_sql(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_statement()
        with self.owner:
            return super().exec_driver_sql(*args, **kwargs)

    def _refuse_statement(self) -> None:
        if self.state.is_ended_by_database:
            raise RolledBackError("the database has ended the transaction; it takes nothing more until the rollback")
        if self.streams_alone and self.state.streams:
            raise UnitOfWorkError(
                "a result is being streamed, and the connection to this database can do nothing else meanwhile; "
                "read it to its end, or close it, before the next statement"
            )

    def commit(self) -> None:
        refuse("connection.commit()")  # the session does it through the transaction's own object

    def rollback(self) -> None:
        refuse("connection.rollback()")

    def close(self) -> None:
        if self.state.has_begun and not self.state.is_ending:
            refuse("connection.close()")
        super().close()

    def detach(self) -> None:
        refuse("connection.detach()")

    def get_transaction(self) -> RootTransaction | None:
        """Return the transaction, to look at."""
        return view_of(super().get_transaction())

    def get_nested_transaction(self) -> NestedTransaction | None:
        """Return the savepoint that is open, to look at."""
        return view_of(super().get_nested_transaction())

    def commit_is_sent(self) -> None:
        self.state.is_commit_sent = True

    def commit_has_succeeded(self) -> None:
        self.state.is_committed = True

    def savepoint_is_opened(self, name: str) -> None:
        self.state.open_savepoint(name)

    def savepoint_is_undone(self, name: str) -> None:
        self.state.undo_savepoint(name)

    def savepoint_rollback_has_succeeded(self) -> None:
        self.state.last_undone = None

    def savepoint_is_released(self, name: str) -> None:
        self.state.release_savepoint(name)


def guard_connection(connection: Connection, owner: SessionOwner, state: TransactionState) -> None:
    """Guard *connection* from now on, for the session with that *owner* and transaction *state*."""
    observe(connection, GuardedConnection)
    assert isinstance(connection, GuardedConnection)
    connection.owner, connection.state = owner, state
    connection.streams_alone = dialect_named(connection.dialect.name).transactions.streams_alone


def state_of(connection: Connection | None) -> TransactionState | None:
    """Return the state of the transaction that *connection* works for, or None where it works for no session."""
    return connection.state if isinstance(connection, GuardedConnection) else None


def guard_engine(engine: Engine) -> None:
    """Translate the errors of *engine*'s driver, and guard the results that sessions stream from its connections."""
    event.listen(engine, "handle_error", _handle_error)
    event.listen(engine, "do_execute", _execute)
    event.listen(engine, "do_execute_no_params", _execute_without_parameters)
    event.listen(engine, "do_executemany", _execute_many)


def _execute(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    _refuse_transaction_control(statement, context)
    if not context.execution_options.get("stream_results"):
        return False
    context.dialect.do_execute(cursor, statement, parameters, context)
    _guard_stream(cursor, context)
    return True


def _execute_without_parameters(cursor: DBAPICursor, statement: str, context: ExecutionContext) -> bool:
    _refuse_transaction_control(statement, context)
    if not context.execution_options.get("stream_results"):
        return False
    context.dialect.do_execute_no_params(cursor, statement, context)
    _guard_stream(cursor, context)
    return True


def _execute_many(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> None:
    _refuse_transaction_control(statement, context)


def _refuse_transaction_control(statement: str, context: ExecutionContext) -> None:
    """Refuse a statement that begins or ends a transaction or a savepoint, of which the session would know nothing."""
    if statement.startswith(PLAIN_STATEMENTS) and ";" not in statement:
        return
    connection = context.root_connection
    if not isinstance(connection, GuardedConnection) or connection.sends_savepoint:
        return
    keyword = transaction_control_in(statement)
    if keyword is not None:
        raise UnitOfWorkError(
            f"a statement that begins with {keyword} would go past the unit of work, which begins and ends the transaction; "
            "leave it out, or call `await uow.commit()`, `await uow.rollback()` or `async with uow.savepoint():`"
        )


def _guard_stream(cursor: DBAPICursor, context: ExecutionContext) -> None:
    connection = context.root_connection
    if isinstance(connection, GuardedConnection):
        replace_cursor(context, StreamedCursor(cursor, connection.owner, connection.state))


def _handle_error(context: ExceptionContext) -> LayeredError | None:
    """Translate an error, and remember it where it has undone something of the transaction."""
    # An error of ours, such as a use by two tasks, was raised before the connection was touched.
    if isinstance(context.original_exception, UnitOfWorkError):
        return translated_driver_error(context) if context.execution_context is None else None

    # SQLAlchemy asks whether something exists, and expects the error.
    if is_internal_probe(context.execution_context):
        return None

    # A connection that was lost, or whose server does not know what it has done, must not be lent again.
    translated = _translated(context)
    if isinstance(translated, DatabaseUnavailableError):
        context.is_disconnect = True

    # The statement may have been carried out in part, or has undone the savepoint, or all of the transaction.
    state = state_of(context.connection)
    if state is not None and (context.is_disconnect or _may_have_written(context)):
        error = translated or context.sqlalchemy_exception or context.original_exception
        state.is_ended_by_database = state.is_ended_by_database or has_ended_transaction(context)
        undoes_all = context.is_disconnect or state.is_ended_by_database or undoes_transaction(error, context)
        if isinstance(error, RolledBackError):  # it only says that there was another one
            error = state.error or state.last_undone or error
        state.remember(error, undoes_all=undoes_all)
    return translated


def _translated(context: ExceptionContext) -> LayeredError | None:
    """Translate an error. If a dialect fails to, the database's own error goes on, and is remembered as any other."""
    try:
        return translated_driver_error(context)
    except Exception:
        _logger.exception("an error of the database could not be translated")
        return None


def _may_have_written(context: ExceptionContext) -> bool:
    """Tell whether something of the statement may have been carried out.

    A mistake that is found on the client's side, such as a missing parameter, has not touched the transaction; but of
    several rows the first ones may have been sent. Nor has a statement before which the transaction could not begin.
    """
    if context.connection and dialect_named(context.dialect.name).transactions.has_refused_to_begin(context.connection):
        return False
    is_from_database = isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
    return is_from_database or bool(getattr(context.execution_context, "executemany", False))


async def read_in_autocommit(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run *work*, which reads outside of a transaction, on a connection of *engine*, and give that back.

    Raises:
        LayeredError: The database has refused a statement, or cannot be reached.
    """
    return await run_in_greenlet(_read, engine, work)


def _read(engine: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return work(connection)
    except Exception as error:
        translated = translated_session_error(error, TransactionState(), engine.dialect.name)
        if translated is None:
            raise
        raise translated from error
