"""The selection of a schema: all that it reads from a mapped class, of rows or of entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Column, Connection, inspect
from sqlalchemy.orm import Mapper, RelationshipProperty, selectin_polymorphic, selectinload, undefer
from sqlalchemy.orm.collections import collection_adapter

from layered_backend.dialects import Keys
from layered_backend.identity import state_of
from layered_backend.memoization import memoized
from layered_backend.projection.fields import Attribute, Composite, Given, Node, Record, Related, Variants, fields_of
from layered_backend.projection.layout import Layout
from layered_backend.query.statements import Statements
from layered_backend.upstream.sqlalchemy.expression import ORMOption

__all__ = ["Selection", "selection_of"]

SchemaT = TypeVar("SchemaT", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Selection(Generic[SchemaT]):
    """The parts of a mapped class that a schema reads. Lives as long as the process.

    Attributes:
        mapper: The mapper of the mapped class.
        schema: The schema that the rows become.
        adapter: The Pydantic adapter that validates a list of them.
        fields: What the schema reads of a row.
        given: The fields that the caller gives as expressions, which come behind the columns.
        joins: Whether rows that a join finds come in the same statement.
    """

    mapper: Mapper[Any]
    schema: type[SchemaT]
    adapter: TypeAdapter[list[SchemaT]]
    fields: Record | Variants
    given: Sequence[str] = ()
    joins: bool = True

    @cached_property
    def unjoined(self) -> Selection[SchemaT]:
        """The same, with a statement for each relationship: for rows that a writing statement returns."""
        return Selection(self.mapper, self.schema, self.adapter, self.fields, self.given, joins=False)

    @cached_property
    def statements(self) -> Statements:
        """The statements over the columns, without those that the caller gives."""
        return Statements(self.mapper, self.layout.statement)

    @property
    def selected(self) -> Sequence[Any]:
        """The attributes of the mapped class that the statements select; none if they select something else as well."""
        return () if self.layout.is_joined else self.layout.columns

    @property
    def width(self) -> int:
        """How many columns the statement has, with those that the caller gives."""
        return len(self.layout.columns) + len(self.given)

    @property
    def is_streamable(self) -> bool:
        """Whether one statement reads all, so that its rows can be streamed."""
        return not self.layout.branches

    @cached_property
    def is_nested(self) -> bool:
        """Whether the schema reads rows at the other end of a relationship."""
        return not isinstance(self.fields, Record) or any(isinstance(n, Related) for n in self.fields.fields.values())

    @cached_property
    def is_of_own_columns(self) -> bool:
        """Whether the schema reads columns of the mapped class's tables, and nothing else."""
        own = {attribute.key for attribute in self.mapper.column_attrs if isinstance(attribute.columns[0], Column)}
        return isinstance(self.fields, Record) and all(
            isinstance(node, Attribute) and node.name in own for node in self.fields.fields.values()
        )

    def is_loaded(self, entity: object) -> bool:
        """Tell whether *entity* has loaded all that the schema reads of it."""
        return _is_loaded(self.fields, entity)

    def loader_options(self) -> list[ORMOption]:
        """Return the loader options for an entity with all that the schema reads of it."""
        return _loader_options(self.mapper, self.fields)

    def records(
        self, rows: Sequence[Sequence[Any]], connection: Connection, by_keys: Keys, options: Sequence[ORMOption]
    ) -> list[Any]:
        """Return the records of *rows*, with all that is nested in them."""
        return self.layout.records(rows, connection, by_keys, options)

    def validated(self, records: Sequence[Any]) -> list[SchemaT]:
        """Return the schemas of *records*."""
        # A composite, or a row of one of several classes, is an object with attributes.
        return self.adapter.validate_python(records, from_attributes=True)

    @cached_property
    def layout(self) -> Layout:
        """The columns that the statement selects, and how its rows become records."""
        return Layout(self.mapper.class_, self.fields, joins=self.joins, given=self.given)


@memoized
def selection_of(model: type[Any], schema: type[SchemaT], given: tuple[str, ...] = ()) -> Selection[SchemaT]:
    """Return the selection of *schema* from the rows of *model*.

    Args:
        model: The mapped class.
        schema: The schema that the rows become.
        given: The names of the fields that the caller gives as expressions.

    Raises:
        TypeError: A field cannot be read, or is none, or a schema is nested in itself.
    """
    mapper: Mapper[Any] = inspect(model, raiseerr=True)
    list_of: Any = list
    selection: Selection[Any] = Selection(
        mapper, schema, TypeAdapter(list_of[schema]), fields_of(mapper, schema, given), given
    )
    selection.layout  # noqa: B018  # raises what cannot be read
    return cast("Selection[SchemaT]", selection)


# Entities


def _is_loaded(node: Node, entity: object) -> bool:
    held = state_of(entity).dict
    match node:
        case Attribute(name):
            return name in held
        case Composite(name):
            return all(each.key in held for each in state_of(entity).mapper.composites[name].props)
        case Record(fields):
            return all(_is_loaded(each, entity) for each in fields.values())
        case Variants(records):
            return _is_loaded(dict(records)[state_of(entity).mapper], entity)
        case Related(relationship, inner):
            return relationship.key in held and all(_is_loaded(inner, each) for each in _held_by(entity, relationship))
        case Given():
            return False


def _held_by(entity: object, relationship: RelationshipProperty[Any]) -> Sequence[object]:
    """Return the entities in the relationship of *entity*, which is loaded."""
    held = state_of(entity).dict[relationship.key]
    if relationship.uselist:
        return list(collection_adapter(held))
    return () if held is None else (held,)


def _loader_options(mapper: Mapper[Any], node: Node) -> list[ORMOption]:
    match node:
        case Attribute(name):
            attribute = mapper.column_attrs.get(name)
            return [undefer(getattr(mapper.class_, name))] if attribute is not None and attribute.deferred else []
        case Record(fields):
            return [option for each in fields.values() for option in _loader_options(mapper, each)]
        case Variants(records):
            classes = [each.class_ for each, _ in records[1:]]
            spanning = [selectin_polymorphic(mapper.class_, classes)] if classes else []
            return [*spanning, *(option for each, record in records for option in _loader_options(each, record))]
        case Related(relationship, inner):
            loader: Any = selectinload(getattr(mapper.class_, relationship.key))
            return [loader.options(*_loader_options(relationship.mapper, inner))]
        case Composite() | Given():
            return []
