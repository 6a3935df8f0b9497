"""Where a direct statement may stand in for the ORM's own path: wherever it would skip nothing of the mapper's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ClauseElement, Column, Connection, Table
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.interfaces import RelationshipDirection

from layered_backend.batch import Batch
from layered_backend.memoization import memoized
from layered_backend.upstream.sqlalchemy.mapper import has_plain_constructor, is_change_heard, is_heard

__all__ = [
    "StatementContext",
    "columns_by_name",
    "deletes_directly",
    "has_default",
    "inserts_directly",
    "is_direct",
    "is_direct_row",
    "updates_directly",
    "values_on_update",
]

_FLUSH_EVENTS = ("before_flush", "after_flush", "after_flush_postexec")
_SESSION_EVENTS: Mapping[str, tuple[str, ...]] = {
    "insert": ("before_attach", "after_attach", "transient_to_pending", "pending_to_persistent"),
    "update": (),
    "delete": ("persistent_to_deleted", "persistent_to_detached"),
}


def inserts_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether rows can be inserted without entities: no constructor, validator or event would notice."""
    is_made_unheard = has_plain_constructor(mapper) and not is_change_heard(mapper, columns_by_name(mapper))
    return _is_plain(mapper) and is_made_unheard and not _is_write_heard(mapper, session, "insert")


def updates_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether rows can be changed by one statement: no validator or event would notice."""
    return _is_plain(mapper) and not _is_write_heard(mapper, session, "update")


def deletes_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether rows can be deleted by one statement: the ORM would not touch other rows, and no event notices."""
    return _is_plain(mapper) and not _touches_others(mapper) and not _is_write_heard(mapper, session, "delete")


def is_direct_row(mapper: Mapper[Any], values: Mapping[str, Any]) -> bool:
    """Tell whether *values*, by attribute name, are plain values of columns."""
    return values.keys() <= columns_by_name(mapper).keys() and not any(map(_is_expression, map(type, values.values())))


def is_direct(mapper: Mapper[Any], batch: Batch) -> bool:
    """Tell whether all of *batch* are plain values of columns, so that many rows can share a statement."""
    columns = columns_by_name(mapper)
    return all(name in columns and not any(map(_is_expression, batch.kinds(name))) for name in batch.fields)


@memoized
def columns_by_name(mapper: Mapper[Any]) -> Mapping[str, Column[Any]]:
    """Return the columns of the mapper's table, by the names of their attributes."""
    first_columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in first_columns.items() if isinstance(column, Column)}


def has_default(column: Column[Any]) -> bool:
    """Tell whether None, as SQLAlchemy has it for entities, is to say: what the column has by default."""
    if column.type.should_evaluate_none:  # None is a value, JSON's own
        return False
    return column.default is not None or column.server_default is not None or column.primary_key


def values_on_update(table: Table, connection: Connection) -> dict[Column[Any], Any]:
    """Return what the columns get at each update that does not set them, for a statement that would leave it out."""
    with_rule = {column: cast("Any", column.onupdate) for column in table.columns if column.onupdate is not None}
    context = StatementContext(connection)
    return {
        column: rule.arg(context) if rule.is_callable else rule.arg
        for column, rule in with_rule.items()
        if not rule.is_sequence
    }


class StatementContext:
    """What a column's default function may ask of the statement that it is called for.

    Args:
        connection: That executes it.
        parameters: Of the row, by the keys of their columns.
    """

    def __init__(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> None:
        self.connection = self.root_connection = connection
        self.dialect = connection.dialect
        self._parameters = parameters or {}

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:
        return self._parameters


@memoized
def _is_expression(kind: type[Any]) -> bool:
    return issubclass(kind, ClauseElement) or hasattr(kind, "__clause_element__")


@memoized
def _is_plain(mapper: Mapper[Any]) -> bool:
    has_family = mapper.inherits is not None or mapper.polymorphic_on is not None
    return isinstance(mapper.local_table, Table) and not (has_family or mapper.validators)


def _is_write_heard(mapper: Mapper[Any], session: Session, verb: str) -> bool:
    """Tell whether somebody listens to an event that the ORM raises when it writes an entity."""
    return is_heard(mapper, f"before_{verb}", f"after_{verb}") or is_heard(
        session, *_FLUSH_EVENTS, *_SESSION_EVENTS[verb]
    )


@memoized
def _touches_others(mapper: Mapper[Any]) -> bool:
    """Tell whether deleting an entity makes the ORM delete, or detach, others."""
    return any(
        relationship.cascade.delete or not relationship.passive_deletes
        for relationship in mapper.relationships
        if not relationship.viewonly
        and (relationship.direction is not RelationshipDirection.MANYTOONE or relationship.cascade.delete)
    )
