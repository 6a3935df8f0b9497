"""The selection of a schema: the columns that it reads, and the rows of the schemas that are nested in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import AliasChoices, BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from sqlalchemy import Column, Connection, Select, inspect, select
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import Mapper, aliased, selectinload, undefer
from sqlalchemy.orm.collections import collection_adapter

from layered_backend.dialects import Keys
from layered_backend.identity import state_of
from layered_backend.memoization import memoized
from layered_backend.query.statements import Statements
from layered_backend.upstream.sqlalchemy.expression import ORMOption
from layered_backend.upstream.sqlalchemy.result import read_by_position

__all__ = ["Record", "Selection", "selection_of"]

SchemaT = TypeVar("SchemaT", bound=BaseModel)

Record = dict[str, Any]
"""The values of one row, by the names that its schema has for them."""


@dataclass(frozen=True, eq=False)
class Selection(Generic[SchemaT]):
    """The columns and nested rows that a schema reads from a mapped class. Lives as long as the process.

    Attributes:
        mapper: The mapper of the mapped class.
        schema: The schema that the rows become.
        adapter: The Pydantic adapter that validates a list of them.
        columns: The attributes to select, by the name that the schema has for them.
        nested: The fields that are read in a statement of their own.
    """

    mapper: Mapper[Any]
    schema: type[SchemaT]
    adapter: TypeAdapter[list[SchemaT]]
    columns: Mapping[str, Any]
    nested: Sequence[_Nested]

    @cached_property
    def statements(self) -> Statements:
        """The statements over the columns, followed by the key if nested rows need it or there are no columns."""
        build: Any = select  # whose overloads count columns
        rows: Select[Any] = build(*self.selected)
        return Statements(self.mapper, read_by_position(rows.select_from(self.mapper)))

    @property
    def selected(self) -> Sequence[Any]:
        """The attributes of the mapped class that the statements select."""
        return (*self.columns.values(), *self._key)

    @cached_property
    def width(self) -> int:
        """How many columns the statement has."""
        return len(self.columns) + len(self._key)

    @cached_property
    def record(self) -> Callable[[Sequence[Any]], Record]:
        """The function that makes a record of a row, without nested records."""
        # Written out, as a named tuple's constructor is: half the time of `dict(zip(...))`.
        items = ", ".join(f"{name!r}: row[{number}]" for number, name in enumerate(self.columns))
        make: Callable[[Sequence[Any]], Record] = eval(f"lambda row: {{{items}}}")  # noqa: S307  # of names of fields
        return make

    def is_loaded(self, entity: object) -> bool:
        """Tell whether *entity* has loaded all that the schema reads of it."""
        held = state_of(entity).dict
        return all(getattr(column, "key", None) in held for column in self.columns.values()) and all(
            nested.relationship in held and all(map(nested.selection.is_loaded, nested.held_by(entity)))
            for nested in self.nested
        )

    def loader_options(self) -> list[ORMOption]:
        """Return the loader options for an entity with all that the schema reads of it."""
        return [
            *(undefer(column) for column in self.columns.values() if _is_deferred(self.mapper, column)),
            *(nested.loader_option() for nested in self.nested),
        ]

    @property
    def _key(self) -> Sequence[Any]:
        return () if self.columns and not self.nested else _key_of(self.mapper, self.mapper.class_)

    def records(
        self,
        rows: Sequence[Any],
        connection: Connection,
        by_keys: Keys,
        options: Sequence[ORMOption],
    ) -> list[Record]:
        """Return the records of *rows*, with the records that are nested in them."""
        make = self.record
        records = [make(row) for row in rows]
        if self.nested and records:
            keys = [tuple(row[len(self.columns) : self.width]) for row in rows]
            for nested in self.nested:
                nested.attach(records, keys, connection, by_keys, options)
        return records


@dataclass(frozen=True)
class _Nested:
    """A field that is a schema of its own, over a relationship.

    Attributes:
        name: The name that the outer schema has for it.
        relationship: The name of the relationship.
        is_list: Whether it holds several records.
        outer: The mapper that the relationship belongs to.
        selection: The selection of the inner schema.
    """

    name: str
    relationship: str
    is_list: bool
    outer: Mapper[Any]
    selection: Selection[Any]

    def held_by(self, entity: object) -> Sequence[object]:
        """Return the entities in the relationship of *entity*, which is loaded."""
        held = state_of(entity).dict[self.relationship]
        if self.is_list:
            return list(collection_adapter(held))
        return () if held is None else (held,)

    def loader_option(self) -> ORMOption:
        """Return the loader option for the relationship, and for all that is nested in turn."""
        attribute = getattr(self.outer.class_, self.relationship)
        option: ORMOption = selectinload(attribute).options(*cast("Any", self.selection.loader_options()))
        return option

    def attach(
        self,
        records: Sequence[Record],
        keys: Sequence[tuple[Any, ...]],
        connection: Connection,
        by_keys: Keys,
        options: Sequence[ORMOption],
    ) -> None:
        """Give each of *records*, whose keys are *keys*, the records that are nested in it."""
        found: dict[tuple[Any, ...], list[Record]] = {}
        wanted = list(dict.fromkeys(keys))
        size = by_keys.parameter_limit // len(keys[0])
        for start in range(0, len(wanted), size):
            statement = self._statement(wanted[start : start + size], by_keys).options(*options)
            rows = connection.execute(statement).all()
            inner = self.selection.records(rows, connection, by_keys, options)
            for row, record in zip(rows, inner, strict=True):
                found.setdefault(tuple(row[self.selection.width :]), []).append(record)
        for record, key in zip(records, keys, strict=True):
            several = found.get(key, [])
            record[self.name] = several if self.is_list else next(iter(several), None)

    def _statement(self, keys: Sequence[tuple[Any, ...]], by_keys: Keys) -> Select[Any]:
        """Return the statement of the inner rows; behind the selection's columns comes the key of the outer row."""
        outer = aliased(self.outer.class_)  # it may be the inner class as well
        outer_key = _key_of(self.outer, outer)
        order_by = self.outer.relationships[self.relationship].order_by or self.selection.mapper.primary_key
        statement = self.selection.statements.rows.add_columns(*outer_key)
        joined = statement.select_from(outer).join(getattr(outer, self.relationship))
        return joined.where(by_keys.among(outer_key, keys)).order_by(*order_by)


@memoized
def selection_of(model: type[Any], schema: type[SchemaT]) -> Selection[SchemaT]:
    """Return the selection of *schema* from the rows of *model*.

    Raises:
        TypeError: A field has no column and no relationship, or a schema is nested in itself.
    """
    return _selected(model, schema, ())


def _selected(model: type[Any], schema: type[SchemaT], above: Sequence[type[BaseModel]]) -> Selection[SchemaT]:
    if schema in above:
        raise TypeError(
            f"{schema.__name__} is nested in itself, which has no end; give the inner one a schema of its own"
        )
    mapper: Mapper[Any] = inspect(model, raiseerr=True)
    columns: dict[str, Any] = {}
    nested: list[_Nested] = []
    for name, field in schema.model_fields.items():
        attribute, taken_as = _attribute(mapper, schema, name, field)
        inner = _schema_in(field.annotation) if attribute in mapper.relationships else None
        if inner is None:
            columns[taken_as] = _column(mapper, schema, name, attribute)
            continue
        relationship = mapper.relationships[attribute]
        selection: Selection[Any] = _selected(relationship.mapper.class_, inner, (*above, schema))
        nested.append(_Nested(taken_as, attribute, bool(relationship.uselist), mapper, selection))
    list_of: Any = list
    return Selection(mapper, schema, TypeAdapter(list_of[schema]), columns, nested)


def _attribute(mapper: Mapper[Any], schema: type[BaseModel], name: str, field: FieldInfo) -> tuple[str, str]:
    """Return the name of the attribute that a field is read from, and the name that the schema has for it.

    As Pydantic has it for attributes: the alias where the mapped class has that, else the field's own name.
    """
    aliases = list(_aliases(field))
    attributes = [candidate for candidate in (*aliases, name) if candidate in mapper.all_orm_descriptors]
    if not attributes or (field.validation_alias is not None and not aliases):
        raise _no_column(mapper, schema, name)
    return attributes[0], aliases[0] if aliases else name


def _aliases(field: FieldInfo) -> Iterator[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return (choice for choice in choices if isinstance(choice, str))


def _column(mapper: Mapper[Any], schema: type[BaseModel], name: str, attribute: str) -> object:
    is_column = attribute in mapper.column_attrs or attribute in mapper.synonyms
    kind = mapper.all_orm_descriptors[attribute].extension_type
    if not (is_column or kind is HybridExtensionType.HYBRID_PROPERTY):
        raise _no_column(mapper, schema, name)
    return getattr(mapper.class_, attribute)


def _no_column(mapper: Mapper[Any], schema: type[BaseModel], name: str) -> TypeError:
    model = mapper.class_.__name__
    return TypeError(
        f"{schema.__name__}.{name} cannot be read: {model} has no column of that name, and no relationship with a schema; "
        f"make it a computed_field, or a column_property or hybrid_property of {model}"
    )


def _is_deferred(mapper: Mapper[Any], column: object) -> bool:
    attribute = mapper.column_attrs.get(getattr(column, "key", ""))
    return attribute is not None and attribute.deferred


def _schema_in(annotation: object) -> type[BaseModel] | None:
    """Return the schema in an annotation such as `list[ItemRead]` or `ItemRead | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_schema_in(argument) for argument in get_args(annotation))
    return next((schema for schema in found if schema is not None), None)


def _key_of(mapper: Mapper[Any], entity: object) -> list[Column[Any]]:
    """Return the primary key as attributes of *entity*, the mapped class or an alias of it."""
    return [getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key]
