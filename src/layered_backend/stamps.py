"""Stamps: the functions that say when a row was written and by whom, and what keeps them true in several tables."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Column, Connection, Dialect, event, inspect
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.attributes import set_attribute

from layered_backend.errors import InvalidDataError, LayeredError, UnitOfWorkError

__all__ = [
    "LONGEST_NAME",
    "READS",
    "StatementContext",
    "creation_of_row",
    "creator_of_row",
    "current_actor",
    "moment_of_transaction",
]

LONGEST_NAME = 255  # characters

_MOMENT = "layered_backend.moment"


class _DefaultContext(Protocol):
    """The part of a statement's context that the default functions of this module use."""

    @property
    def root_connection(self) -> Connection: ...

    def get_current_parameters(self) -> Mapping[str, Any]: ...


def moment_of_transaction(context: _DefaultContext) -> datetime:
    """Return when the transaction first wrote a stamped row: all rows of one transaction have the same stamp."""
    connection = context.root_connection
    transaction = Connection.get_transaction(connection)  # a guarded connection's own method returns a view of it
    of_transaction, moment = connection.info.get(_MOMENT, (None, None))
    if of_transaction is None or of_transaction() is not transaction:
        moment = datetime.now(UTC)
        connection.info[_MOMENT] = weakref.ref(transaction), moment
    stamp: datetime = moment
    return stamp


def creation_of_row(context: _DefaultContext) -> datetime:
    """Return the row's `created_at`: a row that was never updated says so."""
    return context.get_current_parameters().get("created_at") or moment_of_transaction(context)


def current_actor(context: _DefaultContext) -> str | None:
    """Return who works, in the words of the unit of work whose connection executes the statement; None for nobody."""
    actor_name = getattr(context.root_connection, "actor_name", None)  # of a connection that a session guards
    name_of_actor: Callable[[], str | None] | None = actor_name
    name = None if name_of_actor is None else _told_by(name_of_actor)
    if name is not None and len(name) > LONGEST_NAME:
        raise InvalidDataError(f"the name of the actor has more than {LONGEST_NAME} characters; override actor_name()")
    return name


def _told_by(name_of_actor: Callable[[], str | None]) -> str | None:
    try:
        return name_of_actor()
    except LayeredError:
        raise
    except Exception as error:  # which would pass for a value that does not fit its column
        raise UnitOfWorkError(f"actor_name() has raised {type(error).__name__}") from error


def creator_of_row(context: _DefaultContext) -> str | None:
    """Return the row's `created_by`: a row that was never updated says so."""
    return context.get_current_parameters().get("created_by") or current_actor(context)


READS: Mapping[Any, frozenset[str]] = {
    moment_of_transaction: frozenset(),
    creation_of_row: frozenset({"created_at"}),
    current_actor: frozenset(),
    creator_of_row: frozenset({"created_by"}),
}
"""The fields that the functions of this module read: rows with the same values there have the same default."""


class StatementContext:
    """The context that the function of a default gets, for a statement that this library builds.

    Args:
        connection: The connection that executes the statement.
        parameters: The values of the row, by the keys of their columns.
    """

    def __init__(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> None:
        self.connection: Connection = connection
        self.root_connection: Connection = connection
        self.dialect: Dialect = connection.dialect
        self._parameters = parameters or {}

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:
        return self._parameters


@event.listens_for(Mapper, "mapper_configured")
def _keep_stamps(mapper: Mapper[Any], model: type[Any]) -> None:
    """Have a row in several tables stamped in each: an UPDATE of one table leaves those of the others alone."""
    if len(mapper.tables) > 1 and _stamps(mapper):
        event.listen(mapper, "before_update", _stamp)


def _stamp(mapper: Mapper[Any], connection: Connection, entity: Any) -> None:
    """Set the stamps that are in tables of which nothing else has changed."""
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    changed = {
        column.table
        for attribute in mapper.column_attrs
        if state.attrs[attribute.key].history.has_changes()
        for column in attribute.columns
    }
    if not changed:
        return
    context = StatementContext(connection)
    for name, column in _stamps(mapper).items():
        if column.table not in changed:
            set_attribute(entity, name, column.onupdate.arg(context))


def _stamps(mapper: Mapper[Any]) -> Mapping[str, Any]:
    """Return the columns with a stamp that an update renews, by the names of their attributes."""
    columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in columns.items() if isinstance(column, Column) and _is_stamp(column)}


def _is_stamp(column: Column[Any]) -> bool:
    rule: Any = column.onupdate
    return rule is not None and rule.is_callable and rule.arg in READS
