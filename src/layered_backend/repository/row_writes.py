"""Row writes: one direct statement inserts, changes or deletes a row, so that nothing is read first and no flush is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, Delete, Update, bindparam, delete, insert, or_, update
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import set_attribute, set_committed_value

from layered_backend.identity import state_of
from layered_backend.memoization import memoized
from layered_backend.query.scope import ActiveScopes
from layered_backend.repository.column_defaults import has_default
from layered_backend.repository.refresh import expire_with_savepoint
from layered_backend.repository.write_gate import Verb, WritePlan, plan_write
from layered_backend.session import GuardedSyncSession
from layered_backend.upstream.sqlalchemy.mapper import can_register_written, register_written
from layered_backend.upstream.sqlalchemy.session import can_stand_in_for_flush

__all__ = [
    "build_change",
    "build_deletion",
    "change_by_key",
    "change_parameters",
    "delete_by_key",
    "make_entity",
    "new_parameters",
    "plan_change",
    "plan_deletion",
    "set_values",
    "write_new_entity",
]

EntityT = TypeVar("EntityT")

_UNSYNCHRONIZED = {"synchronize_session": False}


def make_entity(mapper: Mapper[EntityT], values: Mapping[str, Any]) -> EntityT:
    """Return a new entity with *values*: what its constructor sets, and what that of an SQLModel leaves out."""
    entity = mapper.class_(**values)
    _set_beside_fields(entity, values)
    return entity


def set_values(entity: object, values: Mapping[str, Any]) -> None:
    """Set attributes of *entity*."""
    beside = _set_beside_fields(entity, values)
    for name, value in values.items():
        if name not in beside:
            setattr(entity, name, value)


def _set_beside_fields(entity: object, values: Mapping[str, Any]) -> Collection[str]:
    """Set the mapped attributes that an SQLModel has from a mixin, which Pydantic takes for no fields, and refuses."""
    if not isinstance(entity, BaseModel):
        return ()
    names = [name for name in values if name not in type(entity).model_fields and name in state_of(entity).attrs]
    for name in names:
        set_attribute(entity, name, values[name])
    return names


def write_new_entity(session: Session, mapper: Mapper[Any], entity: object) -> None:
    """Write *entity*, and all that is pending.

    A flush sorts pending entities by dependency, and asks each relationship for its consequences. For one new row without
    related ones, that is a sixth of the cost.

    Raises:
        InvalidDataError: The database cannot store a value.
        ConflictError: A unique constraint or a foreign key is violated.
    """
    plan = _plan_entity(session, mapper, entity) if isinstance(session, GuardedSyncSession) else None
    session.add(entity)
    if plan is None:
        session.flush()
        return
    values = _held(plan, entity)
    cast("GuardedSyncSession", session).flush_by(lambda connection: _insert(session, plan, entity, values, connection))


def _plan_entity(session: GuardedSyncSession, mapper: Mapper[Any], entity: object) -> WritePlan | None:
    """Return the plan if one INSERT writes *entity*, and all its defaults are known then."""
    if not (session.is_clean and can_register_written() and can_stand_in_for_flush()):
        return None
    state = state_of(entity)
    if state.key is not None or type(entity) is not mapper.class_:
        return None
    if not state.dict.keys().isdisjoint(mapper.relationships.keys()):
        return None
    columns = mapper.column_attrs.keys()
    return plan_write(session, mapper, Verb.ADD, {name: state.dict[name] for name in columns if name in state.dict})


def _held(plan: WritePlan, entity: object) -> dict[str, Any]:
    held = state_of(entity).dict
    return {name: held[name] for name in plan.columns if name in held}


def _insert(
    session: Session, plan: WritePlan, entity: object, values: Mapping[str, Any], connection: Connection
) -> None:
    given = new_parameters(plan, values)
    result = connection.execute(_inserting(plan), given)
    written = cast("Mapping[str, Any]", result.last_inserted_params())
    for name, column in plan.columns.items():
        if column.key in written and column.key not in given:
            set_committed_value(entity, name, written[column.key])
    key = cast("Sequence[Any]", result.inserted_primary_key)
    for name, value in zip(_key_names(plan), key, strict=True):
        set_committed_value(entity, name, value)
    register_written(session, entity)


def new_parameters(plan: WritePlan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an INSERT: None stands for the default of a column that has one."""
    columns = plan.columns
    return {
        columns[name].key: value
        for name, value in values.items()
        if value is not None or not has_default(columns[name])
    }


@memoized
def _inserting(plan: WritePlan) -> Any:
    return insert(plan.table)


@memoized
def _key_names(plan: WritePlan) -> Sequence[str]:
    """Return the names of the key's attributes, in the order of the table's key."""
    return [plan.mapper.get_property_by_column(column).key for column in plan.table.primary_key]


def change_by_key(
    session: Session,
    mapper: Mapper[EntityT],
    identity: tuple[Any, ...],
    values: Mapping[str, Any],
    scopes: ActiveScopes,
) -> EntityT | None:
    """Return the entity with that key after a change to *values*, or None if the ORM has to do it.

    The result is also None if the row has all the *values* already; it is left as it is.
    """
    plan = plan_change(session, mapper, identity, values)
    if plan is None or not plan.is_whole:
        return None
    options, statement = scopes.options(), _changing_entity(plan, frozenset(values))
    statement = statement.options(*options) if options else statement
    parameters = change_parameters(plan, identity, values)
    entity: EntityT | None = session.execute(
        statement, parameters, execution_options=_UNSYNCHRONIZED
    ).scalar_one_or_none()
    if entity is not None:
        expire_with_savepoint(session, [entity])
    return entity


def delete_by_key(
    session: Session, mapper: Mapper[EntityT], identity: tuple[Any, ...], scopes: ActiveScopes
) -> EntityT | None:
    """Return the entity with that key after its deletion, or None if the ORM has to do it or there is no such row."""
    plan = plan_deletion(session, mapper, identity)
    if plan is None or not plan.is_whole:
        return None
    if session.in_nested_transaction():  # its rollback must give the entity back to the session
        return None
    options, statement = scopes.options(), _deleting_entity(plan)
    statement = statement.options(*options) if options else statement
    deleted = session.execute(statement, change_parameters(plan, identity), execution_options=_UNSYNCHRONIZED)
    entity: EntityT | None = deleted.scalar_one_or_none()
    if entity is not None:
        session.expunge(entity)  # its row is gone
    return entity


def plan_change(
    session: Session, mapper: Mapper[Any], identity: tuple[Any, ...], values: Mapping[str, Any]
) -> WritePlan | None:
    """Return the plan if one statement can change *values* of the row with that key and return it."""
    if not values or not session.get_bind().dialect.update_returning or _is_loaded(session, mapper, identity):
        return None
    return plan_write(session, mapper, Verb.UPDATE_BY_KEY, values)


def plan_deletion(session: Session, mapper: Mapper[Any], identity: tuple[Any, ...]) -> WritePlan | None:
    """Return the plan if one statement can delete the row with that key and return it."""
    if not session.get_bind().dialect.delete_returning or _is_loaded(session, mapper, identity):
        return None
    return plan_write(session, mapper, Verb.DELETE_BY_KEY)


def _is_loaded(session: Session, mapper: Mapper[Any], identity: tuple[Any, ...]) -> bool:
    """Tell whether the session holds the entity, after a flush: a direct statement would leave it outdated."""
    if session.new:
        session.flush()
    return mapper.identity_key_from_primary_key(identity) in session.identity_map


def change_parameters(
    plan: WritePlan, identity: tuple[Any, ...], values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the parameters of `build_change`, or of `build_deletion`."""
    prefix = plan.parameter_prefix
    key = {f"{prefix}key_{number}": value for number, value in enumerate(identity)}
    return key if values is None else key | {f"{prefix}new_{name}": value for name, value in values.items()}


def build_change(plan: WritePlan, target: Any, names: frozenset[str]) -> Update:
    """Return the statement that changes those attributes of the row with a key, unless it has all the values already.

    Args:
        plan: The plan.
        target: The mapped class, or its table.
        names: The names of the attributes.
    """
    columns, prefix = plan.columns, plan.parameter_prefix
    new = {columns[name]: bindparam(f"{prefix}new_{name}", type_=columns[name].type) for name in sorted(names)}
    is_changed = or_(*(column.is_distinct_from(value) for column, value in new.items()))
    return update(target).where(*_has_key(plan), is_changed).values(new)


def build_deletion(plan: WritePlan, target: Any) -> Delete:
    """Return the statement that deletes the row with a key."""
    return delete(target).where(*_has_key(plan))


def _has_key(plan: WritePlan) -> list[ColumnElement[bool]]:
    key = enumerate(plan.mapper.primary_key)
    return [column == bindparam(f"{plan.parameter_prefix}key_{number}", type_=column.type) for number, column in key]


@memoized
def _changing_entity(plan: WritePlan, names: frozenset[str]) -> Any:
    return build_change(plan, plan.mapper.class_, names).returning(plan.mapper.class_)


@memoized
def _deleting_entity(plan: WritePlan) -> Any:
    return build_deletion(plan, plan.mapper.class_).returning(plan.mapper.class_)
