"""New entities: written by their INSERT alone if a flush would find nothing else to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Column, Connection, Table, insert
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import set_committed_value

from layered_backend.identity import state_of
from layered_backend.memoization import memoized
from layered_backend.repository.column_defaults import has_default
from layered_backend.repository.orm_bypass import can_insert_directly, columns_by_name, has_plain_values
from layered_backend.session import GuardedSyncSession
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.sqlalchemy.mapper import can_register_written, register_written
from layered_backend.upstream.sqlalchemy.session import can_stand_in_for_flush

__all__ = ["write_new_entity"]


def write_new_entity(session: Session, mapper: Mapper[Any], entity: object) -> None:
    """Write *entity*, and all that is pending.

    A flush sorts pending entities by dependency, and asks each relationship for its consequences. For one new row without
    related ones, that is a sixth of the cost.

    Raises:
        InvalidDataError: The database cannot store a value.
        ConflictError: A unique constraint or a foreign key is violated.
    """
    if isinstance(session, GuardedSyncSession) and session.is_clean and _inserts_alone(session, mapper, entity):
        session.add(entity)
        session.flush_by(lambda connection: _insert(session, mapper, entity, connection))
    else:
        session.add(entity)
        session.flush()


def _inserts_alone(session: Session, mapper: Mapper[Any], entity: object) -> bool:
    """Tell whether one INSERT writes *entity*, and all its defaults are known then."""
    state = state_of(entity)
    if state.key is not None or type(entity) is not mapper.class_:
        return False
    return (
        can_register_written()
        and can_stand_in_for_flush()
        and _has_simple_columns(mapper)
        and state.dict.keys().isdisjoint(mapper.relationships.keys())
        and can_insert_directly(mapper, session)
        and has_plain_values(mapper, _values(mapper, entity))
        and not is_heard(mapper.class_manager, "refresh_flush")
    )


def _insert(session: Session, mapper: Mapper[Any], entity: object, connection: Connection) -> None:
    columns, values = columns_by_name(mapper), _values(mapper, entity)
    given = {
        columns[name].key: value
        for name, value in values.items()
        if value is not None or not has_default(columns[name])
    }
    result = connection.execute(_inserting(mapper), given)
    written = cast("Mapping[str, Any]", result.last_inserted_params())
    for name, column in columns.items():
        if column.key in written and column.key not in given:
            set_committed_value(entity, name, written[column.key])
    key = cast("Sequence[Any]", result.inserted_primary_key)
    for name, value in zip(_key_names(mapper), key, strict=True):
        set_committed_value(entity, name, value)
    register_written(session, entity)


def _values(mapper: Mapper[Any], entity: object) -> dict[str, Any]:
    held = state_of(entity).dict
    return {name: held[name] for name in columns_by_name(mapper) if name in held}


@memoized
def _inserting(mapper: Mapper[Any]) -> Any:
    return insert(cast("Table", mapper.local_table))


@memoized
def _key_names(mapper: Mapper[Any]) -> Sequence[str]:
    """Return the names of the key's attributes, in the order of the table's key."""
    key = cast("Table", mapper.local_table).primary_key
    return [mapper.get_property_by_column(column).key for column in key]


@memoized
def _has_simple_columns(mapper: Mapper[Any]) -> bool:
    """Tell whether all columns of *mapper* belong to one table, and have no default that the database computes."""
    columns = columns_by_name(mapper)
    is_whole = len(columns) == len(mapper.column_attrs) and not mapper.composites
    are_mapped = {*mapper.primary_key} <= {*columns.values()} == {*cast("Table", mapper.local_table).columns}
    return is_whole and are_mapped and mapper.version_id_col is None and all(map(_is_simple, columns.values()))


def _is_simple(column: Column[Any]) -> bool:
    default = column.default
    is_computed_here = default is None or default.is_scalar or default.is_callable
    return is_computed_here and column.server_default is None
