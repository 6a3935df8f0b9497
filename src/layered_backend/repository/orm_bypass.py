"""The bypass of the ORM by direct statements, allowed if they skip no constructor, validator, event or cascade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Column, Table
from sqlalchemy.orm import Mapper, RelationshipDirection, Session

from layered_backend.batch import Batch
from layered_backend.memoization import memoized
from layered_backend.upstream.sqlalchemy.events import is_change_heard, is_heard
from layered_backend.upstream.sqlalchemy.mapper import has_plain_constructor

__all__ = [
    "are_plain_values",
    "can_delete_directly",
    "can_insert_directly",
    "can_update_directly",
    "columns_by_name",
    "has_plain_values",
]

_FLUSH_EVENTS = ("before_flush", "after_flush", "after_flush_postexec")
_SESSION_EVENTS: Mapping[str, tuple[str, ...]] = {
    "insert": ("before_attach", "after_attach", "transient_to_pending", "pending_to_persistent"),
    "update": (),
    "delete": ("persistent_to_deleted", "persistent_to_detached"),
}


def can_insert_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether an INSERT without entities skips no constructor, validator or event."""
    is_made_unheard = has_plain_constructor(mapper) and not is_change_heard(mapper, columns_by_name(mapper))
    return _is_plain(mapper) and is_made_unheard and not _is_write_heard(mapper, session, "insert")


def can_update_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether an UPDATE without entities skips no validator or event."""
    return _is_plain(mapper) and not _is_write_heard(mapper, session, "update")


def can_delete_directly(mapper: Mapper[Any], session: Session) -> bool:
    """Tell whether a DELETE without entities skips no cascade and no event."""
    return _is_plain(mapper) and not _touches_others(mapper) and not _is_write_heard(mapper, session, "delete")


def has_plain_values(mapper: Mapper[Any], values: Mapping[str, Any]) -> bool:
    """Tell whether *values*, by attribute name, are plain values of columns."""
    return values.keys() <= columns_by_name(mapper).keys() and not any(map(_is_expression, map(type, values.values())))


def are_plain_values(mapper: Mapper[Any], batch: Batch) -> bool:
    """Tell whether all of *batch* are plain values of columns, so that many rows can share a statement."""
    columns = columns_by_name(mapper)
    return all(name in columns and not any(map(_is_expression, batch.kinds(name))) for name in batch.fields)


@memoized
def columns_by_name(mapper: Mapper[Any]) -> Mapping[str, Column[Any]]:
    """Return the columns of the mapper's table, by the names of their attributes."""
    first_columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    return {name: column for name, column in first_columns.items() if isinstance(column, Column)}


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
