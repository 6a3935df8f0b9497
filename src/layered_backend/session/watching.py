"""Following a connection while a session works with it, whoever uses it: the session, or a caller who took it from it."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

from layered_backend.dialects import dialect_named
from layered_backend.errors import (
    DatabaseUnavailableError,
    LayeredError,
    RolledBackError,
    UnitOfWorkError,
)
from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.translation import has_ended_transaction, translated_driver_error, undoes_transaction
from layered_backend.session.turn import Turn

__all__ = ["Watcher", "follow", "refuse", "watch"]


class Watcher(Protocol):
    """What is kept of the transaction that a connection works for.

    Attributes:
        stack: Its errors and hooks.
        turn: Who uses it now.
        is_commit_sent: Whether COMMIT is on its way, or past.
        is_committed: Whether it has succeeded.
    """

    stack: SavepointStack
    turn: Turn
    is_commit_sent: bool
    is_committed: bool


class _FollowedConnection(Connection):
    """A connection that works for a session: whoever took it from there takes the session's turn, and ends nothing."""

    watcher: Watcher

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        turn = self.watcher.turn
        before = turn.begin_statement()
        try:
            return super().execute(*args, **kwargs)
        finally:
            turn.end_statement(before)

    def scalar(self, *args: Any, **kwargs: Any) -> Any:
        turn = self.watcher.turn
        before = turn.begin_statement()
        try:
            return super().scalar(*args, **kwargs)
        finally:
            turn.end_statement(before)

    def exec_driver_sql(self, *args: Any, **kwargs: Any) -> Any:
        turn = self.watcher.turn
        before = turn.begin_statement()
        try:
            return super().exec_driver_sql(*args, **kwargs)
        finally:
            turn.end_statement(before)

    def commit(self) -> None:
        refuse("connection.commit()")  # the session does it through the transaction's own object

    def rollback(self) -> None:
        refuse("connection.rollback()")

    # Not listeners: with a single one SQLAlchemy looks for others at each step of each statement.

    def _commit_impl(self) -> None:
        self.watcher.is_commit_sent = True
        super()._commit_impl()
        self.watcher.is_committed = True  # before a listener of the application's is told, which may raise

    def _savepoint_impl(self, name: str | None = None) -> str:
        self.watcher.stack.push(name)  # None: SQLAlchemy names it later
        return super()._savepoint_impl(name)

    def _rollback_to_savepoint_impl(self, name: str) -> None:
        self.watcher.stack.discard(name)
        super()._rollback_to_savepoint_impl(name)

    def _release_savepoint_impl(self, name: str) -> None:
        self.watcher.stack.merge(name)
        super()._release_savepoint_impl(name)


def follow(connection: Connection, watcher: Watcher) -> None:
    """Tell *watcher*, from now on, what happens on *connection*."""
    # SQLAlchemy lets nobody choose the class of an engine's connections; this one differs in nothing but its methods.
    followed: Any = connection
    followed.__class__ = _FollowedConnection
    followed.watcher = watcher


def _watcher_of(connection: Connection | None) -> Watcher | None:
    return connection.watcher if isinstance(connection, _FollowedConnection) else None


def refuse(call: str) -> NoReturn:
    """Raise the error that says why *call* is not for the caller."""
    raise UnitOfWorkError(
        f"{call} would go past the unit of work, which commits when its block ends; leave it out, or call "
        "`await uow.commit()` or `await uow.rollback()`"
    )


def watch(engine: Engine) -> None:
    """Translate the errors of *engine*'s driver, and follow what sessions do with its connections."""
    event.listen(engine, "handle_error", _handle_error)
    event.listen(engine, "do_execute", _execute)
    event.listen(engine, "do_execute_no_params", _execute_without_parameters)


def _execute(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    if not context.execution_options.get("stream_results"):
        return False
    context.dialect.do_execute(cursor, statement, parameters, context)
    _follow_stream(cursor, context)
    return True


def _execute_without_parameters(cursor: DBAPICursor, statement: str, context: ExecutionContext) -> bool:
    if not context.execution_options.get("stream_results"):
        return False
    context.dialect.do_execute_no_params(cursor, statement, context)
    _follow_stream(cursor, context)
    return True


def _follow_stream(cursor: DBAPICursor, context: ExecutionContext) -> None:
    watcher = _watcher_of(context.root_connection)
    if watcher is not None:
        adapted: Any = context
        adapted.cursor = watcher.turn.follow(cursor)


def _handle_error(context: ExceptionContext) -> LayeredError | None:
    if isinstance(context.original_exception, UnitOfWorkError):  # ours: the connection was not touched
        return translated_driver_error(context) if context.execution_context is None else None
    if _is_probe(context):
        return None
    watcher = _watcher_of(context.connection)
    translated = translated_driver_error(context)
    is_lost = isinstance(translated, DatabaseUnavailableError)
    if is_lost:
        context.is_disconnect = True  # the pool must not lend this connection again
    if watcher is not None and (context.is_disconnect or _may_have_written(context)):
        error = translated or context.sqlalchemy_exception or context.original_exception
        watcher.turn.is_void = watcher.turn.is_void or has_ended_transaction(context)
        undoes_all = context.is_disconnect or watcher.turn.is_void or undoes_transaction(error, context)
        if isinstance(error, RolledBackError):  # it only says that there was another one
            error = watcher.stack.error or watcher.stack.last_undone or error
        watcher.stack.remember(error, undoes_all=undoes_all)
    return translated


def _may_have_written(context: ExceptionContext) -> bool:
    """Tell whether something of the statement may have been carried out.

    A mistake that is found on the client's side, such as a missing parameter, has not touched the transaction; but of
    several rows the first ones may have been sent. Nor has a statement before which the transaction could not begin.
    """
    if context.connection and dialect_named(context.dialect.name).transactions.has_refused_to_begin(context.connection):
        return False
    is_of_database = isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
    return is_of_database or bool(getattr(context.execution_context, "executemany", False))


def _is_probe(context: ExceptionContext) -> bool:
    """Tell whether SQLAlchemy only asks whether something is there, as for a table in MariaDB."""
    options = getattr(context.execution_context, "execution_options", {})
    return bool(options.get("skip_user_error_events"))
