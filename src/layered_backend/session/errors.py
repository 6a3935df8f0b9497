"""From the errors of drivers and of SQLAlchemy to those of this library."""

from __future__ import annotations

import copy
import logging
from typing import Any, NoReturn

import sqlalchemy.exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm.exc import StaleDataError

from layered_backend.dialects import Errors, Reading, dialect_named
from layered_backend.dialects.constraints import completed, statement_table
from layered_backend.errors import (
    DatabaseUnavailableError,
    ForeignKeyViolationError,
    InvalidDataError,
    LayeredError,
    ReadOnlyError,
    RolledBackError,
    StaleError,
    UnitOfWorkError,
)
from layered_backend.session.transaction_state import TransactionState
from layered_backend.upstream.sqlalchemy.connection import is_from_pool

__all__ = [
    "describe",
    "has_ended_transaction",
    "refuse",
    "rolled_back",
    "savepoint_undone",
    "translated_driver_error",
    "translated_session_error",
    "undoes_transaction",
]

_logger = logging.getLogger("layered_backend")

_CAUGHT = (
    "{} was caught, but it had already undone this unit of work; nothing was saved. Wrap the statement in "
    "`async with uow.savepoint():`, call `await uow.rollback()`, or let the error out."
)
_CUT_OFF = (
    "a part of the block was cut off by a cancellation or a timeout, and it is not known how far it came; nothing was "
    "saved. Put the whole `async with` block inside the timeout, and let the cancellation out of it."
)
_SAVEPOINT_UNDONE = (
    "{} was caught inside a savepoint, but it had already undone the savepoint; let the error out of the block, and catch "
    "it around the block"
)
_CONNECTION_LOST = (
    "the connection was invalidated, and its transaction is lost with it; nothing was saved. Call `await uow.rollback()`, "
    "or let the error out."
)
_COLUMN_TYPE_REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_INVALIDATED = "8s2b"  # https://docs.sqlalchemy.org/en/21/errors.html#error-8s2b
_DRIVER_REFUSALS = (OverflowError, TypeError, UnicodeError)


def translated_driver_error(context: ExceptionContext) -> LayeredError | None:
    """Translate what the driver raised, or what it let through: asyncpg and asyncmy do not wrap what the socket says."""
    original = context.original_exception
    if isinstance(original, LayeredError) and context.execution_context is None:
        return copy.copy(original)  # a scope, or a column's default, has found nobody to give it its value
    errors = dialect_named(context.dialect.name).errors
    reading = errors.read(original)
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        is_lost = isinstance(original, OSError) or (reading is not None and reading.error is DatabaseUnavailableError)
        return DatabaseUnavailableError() if is_lost else _translated_value_error(context)
    if reading is not None:
        return _raised(_completed(errors, reading, context), context)
    is_connecting = context.connection is None
    return DatabaseUnavailableError() if context.is_disconnect or is_connecting else None


def _completed(errors: Errors, reading: Reading, context: ExceptionContext) -> Reading:
    """Add what the metadata knows of the constraint; where that cannot be found out, the error is the same without it."""
    try:
        return completed(errors.probe(context, reading), statement_table(context), context.dialect)
    except Exception:
        _logger.exception("the constraint of an error could not be found")
        return reading


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


def translated_session_error(error: BaseException, state: TransactionState, dialect_name: str) -> LayeredError | None:
    """Translate the errors that arise above the driver, or before there is a connection."""
    match error:
        case sqlalchemy.exc.PendingRollbackError():
            return _pending_rollback(error, state)
        case RolledBackError() if state.error is not None and error is not state.error:
            return rolled_back(state.error)  # what the database said of the first error tells more
        case StaleDataError():
            return StaleError()
        case sqlalchemy.exc.TimeoutError():
            return DatabaseUnavailableError("no pooled connection became free in time")
        case LayeredError() | sqlalchemy.exc.SQLAlchemyError():
            return None
        case _:
            return _translated_connect_error(error, dialect_name)


def _pending_rollback(error: sqlalchemy.exc.PendingRollbackError, state: TransactionState) -> RolledBackError:
    """Say why SQLAlchemy asks for a rollback first."""
    # An error of the database has undone the unit of work.
    if state.error is not None:
        return rolled_back(state.error)
    # Somebody has called `connection.invalidate()`.
    if error.code == _INVALIDATED:
        return RolledBackError(_CONNECTION_LOST)
    # A flush has failed in a savepoint, whose error is booked in the savepoint alone.
    return savepoint_undone(error.__cause__)


def _translated_connect_error(error: BaseException, dialect_name: str) -> LayeredError | None:
    """Translate what a driver says while it connects, which SQLAlchemy hands on as it is.

    Only what comes out of the pool: a listener of the application's may raise an OSError too.
    """
    if not is_from_pool(error):
        return None
    if isinstance(error, OSError):
        return DatabaseUnavailableError()
    reading = dialect_named(dialect_name).errors.read(error)
    is_unavailable = reading is not None and reading.error is DatabaseUnavailableError
    return DatabaseUnavailableError(reading.sentence) if reading and is_unavailable else None


def undoes_transaction(error: BaseException, context: ExceptionContext) -> bool:
    """Tell whether the database answered with *error* by undoing the whole transaction, its savepoints included."""
    return isinstance(error, dialect_named(context.dialect.name).transactions.undoing_all)


def has_ended_transaction(context: ExceptionContext) -> bool:
    """Tell whether the database has ended the transaction with the error, so that nothing more belongs to it."""
    if context.connection is None or context.is_disconnect:
        return False
    return dialect_named(context.dialect.name).transactions.has_ended(context.connection)


def rolled_back(first: BaseException) -> RolledBackError:
    """Return the error that refuses to commit after *first* was caught, with *first* as its cause."""
    if isinstance(first, RolledBackError):
        return first
    refusal = RolledBackError(_CAUGHT.format(describe(first)) if isinstance(first, Exception) else _CUT_OFF)
    refusal.__cause__ = first
    return refusal


def savepoint_undone(first: BaseException | None) -> RolledBackError:
    """Return the error that says that *first* was caught inside a savepoint, with *first* as its cause."""
    refusal = RolledBackError(_SAVEPOINT_UNDONE.format(describe(first) if isinstance(first, Exception) else "an error"))
    refusal.__cause__ = first
    return refusal


def describe(error: BaseException) -> str:
    """Return *error*'s class and, where it is known, its place: `UniqueViolationError on items.name`."""
    table, columns = getattr(error, "table", None), getattr(error, "columns", ())
    place = ".".join(filter(None, (table, ", ".join(columns))))
    return f"{type(error).__name__} on {place}" if place else type(error).__name__


def refuse(call: str) -> NoReturn:
    """Raise the error that says why *call* is not for the caller.

    Raises:
        UnitOfWorkError: Always.
    """
    raise UnitOfWorkError(
        f"{call} would go past the unit of work, which commits when its block ends; leave it out, or call "
        "`await uow.commit()` or `await uow.rollback()`"
    )
