"""From the errors of drivers and of SQLAlchemy to those of this library, and into the memory of the transaction."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm.exc import StaleDataError

from layered_backend.dialects import Reading, dialect_named
from layered_backend.dialects.constraints import completed, statement_table
from layered_backend.errors import (
    DatabaseUnavailableError,
    ForeignKeyViolationError,
    InvalidDataError,
    LayeredError,
    ReadOnlyError,
    RolledBackError,
    StaleError,
)
from layered_backend.session.savepoint_stack import SavepointStack

__all__ = ["describe", "remember_in", "rolled_back", "translated_session_error", "watch"]

_COLUMN_TYPE_REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_DRIVER_REFUSALS = (OverflowError, TypeError, UnicodeError)

_stacks: WeakKeyDictionary[Connection, SavepointStack] = WeakKeyDictionary()
"""Which transaction a connection works for, so that an error of the connection itself is remembered too."""


def remember_in(stack: SavepointStack, connection: Connection) -> None:
    """Remember the errors and savepoints of *connection*, from now on, in *stack*."""
    _stacks[connection] = stack


def watch(engine: Engine) -> None:
    """Translate the errors of *engine*'s driver, and follow its savepoints."""
    event.listen(engine, "handle_error", _handle_error)
    event.listen(engine, "savepoint", _on_savepoint)
    event.listen(engine, "rollback_savepoint", _on_rollback_savepoint)
    event.listen(engine, "release_savepoint", _on_release_savepoint)


def _handle_error(context: ExceptionContext) -> LayeredError | None:
    if _is_probe(context):
        return None
    translated = _translated_driver_error(context)
    is_lost = isinstance(translated, DatabaseUnavailableError)
    if is_lost:
        context.is_disconnect = True  # the pool must not lend this connection again
    # A mistake found on the client's side, such as a missing parameter, has not touched the transaction.
    is_of_database = is_lost or isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
    stack = _stacks.get(context.connection) if context.connection is not None else None
    if is_of_database and stack is not None:
        stack.remember(translated or context.sqlalchemy_exception or context.original_exception)
    return translated


def _is_probe(context: ExceptionContext) -> bool:
    """Tell whether SQLAlchemy only asks whether something is there, as for a table in MariaDB."""
    options = getattr(context.execution_context, "execution_options", {})
    return bool(options.get("skip_user_error_events"))


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
    dialect = dialect_named(context.dialect.name)
    reading = dialect.read(original)
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        is_lost = reading is not None and reading.error is DatabaseUnavailableError
        return DatabaseUnavailableError() if is_lost else _translated_value_error(context)
    if reading is not None:
        reading = completed(dialect.probe(context, reading), statement_table(context), context.dialect)
        return _raised(reading, context)
    is_connecting = context.connection is None
    return DatabaseUnavailableError() if context.is_disconnect or is_connecting else None


def _raised(reading: Reading, context: ExceptionContext) -> LayeredError:
    if reading.error is RolledBackError:
        return RolledBackError("an earlier statement failed; the database ignores all others until the rollback")
    if reading.error is ReadOnlyError:
        return ReadOnlyError(
            "nothing can be written: the unit of work has read_only=True, or the database is read-only"
        )
    facts: dict[str, Any] = {
        "constraint": reading.constraint,
        "table": reading.table,
        "columns": reading.columns,
    }
    if reading.error is ForeignKeyViolationError:
        return ForeignKeyViolationError(is_referred_to=_is_referred_to(reading, context), **facts)
    return reading.error(reading.sentence, **facts)


def _is_referred_to(reading: Reading, context: ExceptionContext) -> bool | None:
    """Tell whether the written row is the one that others refer to; None where the statement does not say."""
    written = statement_table(context)
    execution: Any = context.execution_context
    if written is None:
        return None
    return bool(execution.isdelete) or (execution.isupdate and reading.table != written.name)


def _translated_value_error(context: ExceptionContext) -> LayeredError | None:
    """Translate what a column type or the driver says of a value, before the database sees it."""
    if context.statement is None:
        return None  # it is a value that came back
    by_column_type = context.execution_context is None
    refusals = _COLUMN_TYPE_REFUSALS if by_column_type else _DRIVER_REFUSALS
    return InvalidDataError() if isinstance(context.original_exception, refusals) else None


def translated_session_error(error: BaseException, stack: SavepointStack, dialect_name: str) -> LayeredError | None:
    """Translate the errors that arise above the driver, or so far below that SQLAlchemy does not see them."""
    match error:
        case sqlalchemy.exc.PendingRollbackError():
            return rolled_back(stack.error or error)
        case StaleDataError():
            return StaleError()
        case sqlalchemy.exc.TimeoutError():
            return DatabaseUnavailableError("no pooled connection became free in time")
        case LayeredError() | sqlalchemy.exc.SQLAlchemyError():
            return None
        case OSError() | TimeoutError():  # asyncpg and asyncmy do not wrap what the socket says
            return DatabaseUnavailableError()
        case _:  # nor does SQLAlchemy 2.0 what asyncpg says while it connects
            reading = dialect_named(dialect_name).read(error)
            is_unavailable = reading is not None and reading.error is DatabaseUnavailableError
            return DatabaseUnavailableError(reading.sentence) if reading and is_unavailable else None


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
