"""The write gate: plans each write of a mapped class as a direct statement, or sends it through the ORM.

The decision is an allow-list. A direct statement is planned only where the gate knows every property, default, version,
option and listener of the mapper, and knows that the statement skips none of them. Anything else goes through the ORM.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, cast

from sqlalchemy import ClauseElement, Column, ColumnElement, Table
from sqlalchemy.orm import (
    ColumnProperty,
    CompositeProperty,
    MappedSQLExpression,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
    Session,
    SynonymProperty,
)

from layered_backend.batch import Batch
from layered_backend.field_values import is_plain
from layered_backend.memoization import memoized
from layered_backend.query.unique_keys import tables_among
from layered_backend.stamps import READS
from layered_backend.upstream.sqlalchemy.events import is_change_heard, is_heard
from layered_backend.upstream.sqlalchemy.mapper import counts_versions, has_plain_constructor
from layered_backend.upstream.sqlalchemy.schema import takes_no_context

__all__ = ["Verb", "WritePlan", "is_expression", "plan_write", "table_columns"]


class Verb(Enum):
    """The ways to write rows."""

    ADD = "write an entity that is constructed already"
    INSERT = "write rows without entities"
    UPSERT = "write rows, or change those with the same key"
    UPDATE_BY_KEY = "change the row with a key, and return it"
    UPDATE_WHERE = "change the rows that meet criteria"
    DELETE_BY_KEY = "delete the row with a key, and return it"
    DELETE_WHERE = "delete the rows that meet criteria"


@dataclass(frozen=True, eq=False)
class WritePlan:
    """A plan to write a mapped class by direct statements. Lives as long as the process.

    Attributes:
        mapper: The mapper of the mapped class.
        table: Its only table.
        columns: The table's mapped columns, by the names of their attributes.
    """

    mapper: Mapper[Any]
    table: Table
    columns: Mapping[str, Column[Any]]

    @cached_property
    def parameter_prefix(self) -> str:
        """The beginning of parameter names that no column has: SQLAlchemy would take such a parameter for its value."""
        prefix = "layered_"
        while any(column.key.startswith(prefix) for column in self.table.columns):
            prefix += "_"
        return prefix

    @cached_property
    def is_whole(self) -> bool:
        """Whether an entity consists of the columns that RETURNING gives back, without eager relationships."""
        are_columns = all(attribute.key in self.columns for attribute in self.mapper.column_attrs)
        return are_columns and all(relationship.lazy in _LAZY for relationship in self.mapper.relationships)

    @cached_property
    def comparable(self) -> frozenset[str]:
        """The attributes that are compared in SQL, are loaded with an entity and do not belong to the key."""
        return frozenset(
            name
            for name, column in self.columns.items()
            if is_plain(column.type) and name in self.changeable and not self.mapper.column_attrs[name].deferred
        )

    @cached_property
    def changeable(self) -> frozenset[str]:
        """The attributes that do not belong to the primary key, by which the session knows its entities."""
        key = {*self.mapper.primary_key}
        return frozenset(name for name, column in self.columns.items() if column not in key)

    @cached_property
    def next_version(self) -> dict[Column[Any], ColumnElement[Any]]:
        """The version of a changed row, if it is counted up; none if there is none, or if the database makes it."""
        column: Any = self.mapper.version_id_col
        return {column: column + 1} if column is not None and callable(self.mapper.version_id_generator) else {}

    def new_version(self) -> dict[str, Any]:
        """Return the version of a new row, by the key of its column, whatever the row sets; nothing if it has none."""
        column, generator = self.mapper.version_id_col, self.mapper.version_id_generator
        return {str(column.key): generator(None)} if column is not None and callable(generator) else {}


_WITHOUT_COLUMNS: tuple[type[Any], ...] = (RelationshipProperty, CompositeProperty, SynonymProperty)
_LAZY = frozenset({"select", True, "noload", None, "raise", "raise_on_sql", "dynamic", "write_only"})
_FLUSH_EVENTS = ("before_flush", "after_flush", "after_flush_postexec")
_NEW_EVENTS = (*_FLUSH_EVENTS, "before_attach", "after_attach", "transient_to_pending", "pending_to_persistent")
_GONE_EVENTS = (*_FLUSH_EVENTS, "persistent_to_deleted", "persistent_to_detached")
_INSERT_EVENTS = ("before_insert", "after_insert")
_UPDATE_EVENTS = ("before_update", "after_update")
_DELETE_EVENTS = ("before_delete", "after_delete")
_MAPPER_EVENTS: Mapping[Verb, tuple[str, ...]] = {
    Verb.ADD: _INSERT_EVENTS,
    Verb.INSERT: _INSERT_EVENTS,
    Verb.UPSERT: (*_INSERT_EVENTS, *_UPDATE_EVENTS),
    Verb.UPDATE_BY_KEY: _UPDATE_EVENTS,
    Verb.UPDATE_WHERE: _UPDATE_EVENTS,
    Verb.DELETE_BY_KEY: _DELETE_EVENTS,
    Verb.DELETE_WHERE: _DELETE_EVENTS,
}
_SESSION_EVENTS: Mapping[Verb, tuple[str, ...]] = {
    Verb.ADD: _NEW_EVENTS,
    Verb.INSERT: _NEW_EVENTS,
    Verb.UPSERT: _NEW_EVENTS,
    Verb.UPDATE_BY_KEY: _FLUSH_EVENTS,
    Verb.UPDATE_WHERE: _FLUSH_EVENTS,
    Verb.DELETE_BY_KEY: _GONE_EVENTS,
    Verb.DELETE_WHERE: _GONE_EVENTS,
}
_CONSTRUCTING = frozenset({Verb.INSERT, Verb.UPSERT})
_DELETING = frozenset({Verb.DELETE_BY_KEY, Verb.DELETE_WHERE})


def plan_write(
    session: Session, mapper: Mapper[Any], verb: Verb, values: Mapping[str, Any] | Batch | None = None
) -> WritePlan | None:
    """Return the plan of a direct statement, or None if the write goes through the ORM.

    Args:
        session: The session to write in.
        mapper: The mapper of the mapped class.
        verb: How rows are written.
        values: What is written, by attribute name; None for a deletion.
    """
    plan = _plan(mapper, verb)
    if plan is None or not _takes(plan, verb, values) or _is_heard(session, plan, verb, values):
        return None
    return plan


def _takes(plan: WritePlan, verb: Verb, values: Mapping[str, Any] | Batch | None) -> bool:
    """Tell whether the statement can write *values*, and writes them as the ORM would."""
    if values is None:
        return True
    if isinstance(values, Batch):
        return values.fields.keys() <= plan.columns.keys() and not any(
            is_expression(kind) for name in values.fields for kind in values.kinds(name)
        )
    if verb is Verb.UPDATE_WHERE:
        return values.keys() <= plan.changeable
    names = plan.comparable if verb is Verb.UPDATE_BY_KEY else plan.columns.keys()
    return values.keys() <= names and not any(map(is_expression, map(type, values.values())))


def _is_heard(session: Session, plan: WritePlan, verb: Verb, values: Mapping[str, Any] | Batch | None) -> bool:
    """Tell whether somebody hears of the write, or has a say in it: listeners come and go."""
    mapper = plan.mapper
    if is_heard(mapper, *_MAPPER_EVENTS[verb]) or is_heard(session, *_SESSION_EVENTS[verb]):
        return True
    if verb in _DELETING:
        return False
    if verb in _CONSTRUCTING:  # the constructor sets attributes of its own
        return not has_plain_constructor(mapper) or is_change_heard(mapper, plan.columns)
    if verb is Verb.ADD:  # its defaults are set behind the back of who listens
        return is_heard(mapper.class_manager, "refresh_flush") or is_change_heard(mapper, plan.columns)
    return is_change_heard(mapper, cast("Mapping[str, Any]", values))


@memoized
def is_expression(kind: type[Any]) -> bool:
    """Tell whether values of that type are SQL, not plain values."""
    return issubclass(kind, ClauseElement) or hasattr(kind, "__clause_element__")


# What is known of a mapped class does not change while it is mapped.


@memoized
def _plan(mapper: Mapper[Any], verb: Verb) -> WritePlan | None:
    plan = _plan_of(mapper)
    return plan if plan is not None and all(holds(plan) for holds in _CONDITIONS[verb]) else None


@memoized
def _plan_of(mapper: Mapper[Any]) -> WritePlan | None:
    """Return the plan for all verbs; None if the mapper has an option, or a property, that the gate does not know."""
    table, columns = next(tables_among([mapper.local_table]), None), table_columns(mapper)
    if table is None or mapper.persist_selectable is not table or not _is_alone(mapper):
        return None
    is_plain = (
        not mapper.validators and _is_plain_class(mapper) and all(map(_is_known_property, mapper.iterate_properties))
    )
    is_each_mapped_once = len({*columns.values()}) == len(columns)
    has_whole_key = {*mapper.primary_key} <= {*columns.values()}
    return WritePlan(mapper, table, columns) if is_plain and is_each_mapped_once and has_whole_key else None


def _is_known_property(attribute: object) -> bool:
    # An expression, or a column of another table, is read and never written.
    if type(attribute) in {ColumnProperty, MappedSQLExpression}:
        return len(cast("ColumnProperty[Any]", attribute).columns) == 1
    return isinstance(attribute, _WITHOUT_COLUMNS)


@memoized
def table_columns(mapper: Mapper[Any]) -> Mapping[str, Column[Any]]:
    """Return the columns of the mapper's own table, by the names of their attributes."""
    first_columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    table = mapper.local_table
    return {
        name: column for name, column in first_columns.items() if isinstance(column, Column) and column.table is table
    }


def _is_alone(mapper: Mapper[Any]) -> bool:
    """Tell whether the class belongs to no hierarchy: a row of one has a kind, or parts in several tables."""
    is_of_no_kind = mapper.polymorphic_on is None and mapper.with_polymorphic is None
    return is_of_no_kind and mapper.inherits is None and [*mapper.self_and_descendants] == [mapper]


def _is_plain_class(mapper: Mapper[Any]) -> bool:
    """Tell whether attributes are set, and entities made, as Python and SQLAlchemy do it."""
    model: Any = mapper.class_
    is_plain_object = model.__setattr__ is object.__setattr__ and model.__new__ is object.__new__
    return type(mapper) is Mapper and is_plain_object


def _has_known_defaults(plan: WritePlan) -> bool:
    """Tell whether each default is the same for a statement of ours as for one of the ORM's."""
    return all(_is_known(column.default) for column in plan.table.columns)


def _has_known_updates(plan: WritePlan) -> bool:
    """Tell the same of what columns get in an update."""
    rules: list[Any] = [column.onupdate for column in plan.table.columns if column.onupdate is not None]
    return all(_is_known(rule) and not rule.is_sequence for rule in rules)


def _is_known(default: Any) -> bool:
    """Tell whether *default* is none, a value, an expression, a sequence, or a function that reads nothing of the statement."""
    if default is None or default.is_scalar or default.is_clause_element or default.is_sequence:
        return True
    return bool(default.is_callable) and (default.arg in READS or takes_no_context(default.arg))


def _is_unversioned(plan: WritePlan) -> bool:
    return plan.mapper.version_id_col is None


def _has_known_version(plan: WritePlan) -> bool:
    """Tell whether there is no version, one that is counted up, or one that the database makes."""
    is_made_elsewhere = plan.mapper.version_id_generator is False
    return _is_unversioned(plan) or is_made_elsewhere or counts_versions(plan.mapper)


def _is_written_whole(plan: WritePlan) -> bool:
    """Tell whether the INSERT has all that an entity holds, and nothing that the database computes."""
    is_whole = len(plan.columns) == len([*plan.mapper.column_attrs]) and not [*plan.mapper.composites]
    columns = {*plan.columns.values()}
    return is_whole and columns == {*plan.table.columns} and all(map(_is_computed_here, columns))


def _is_computed_here(column: Column[Any]) -> bool:
    default = column.default
    return column.server_default is None and (default is None or default.is_scalar or default.is_callable)


def _touches_no_others(plan: WritePlan) -> bool:
    """Tell whether deleting an entity makes the ORM delete, or detach, no others."""
    return not any(
        relationship.cascade.delete or not relationship.passive_deletes
        for relationship in plan.mapper.relationships
        if not relationship.viewonly
        and (relationship.direction is not RelationshipDirection.MANYTOONE or relationship.cascade.delete)
    )


_CONDITIONS: Mapping[Verb, Collection[Callable[[WritePlan], bool]]] = {
    Verb.ADD: (_has_known_defaults, _is_unversioned, _is_written_whole),
    Verb.INSERT: (_has_known_defaults,),
    Verb.UPSERT: (_has_known_defaults, _has_known_updates, _has_known_version),
    Verb.UPDATE_BY_KEY: (_has_known_updates, _is_unversioned),
    Verb.UPDATE_WHERE: (_has_known_updates, _has_known_version),
    Verb.DELETE_BY_KEY: (_is_unversioned, _touches_no_others),
    Verb.DELETE_WHERE: (_touches_no_others,),
}
