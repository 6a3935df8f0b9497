"""The layout of a statement: the columns that it selects, and how each of its rows becomes a record.

Rows at the other end of a relationship come by a join if it never repeats a row, and else by one statement for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, Connection, Select, Table, inspect, select, type_coerce
from sqlalchemy.orm import Mapper, RelationshipProperty, aliased, with_polymorphic
from sqlalchemy.sql.visitors import replacement_traverse

from layered_backend.dialects import Keys
from layered_backend.projection.fields import Attribute, Composite, Given, Node, Record, Related, Variants
from layered_backend.upstream.sqlalchemy.expression import ORMOption
from layered_backend.upstream.sqlalchemy.result import read_by_position

__all__ = ["Layout"]

_Row: TypeAlias = Sequence[Any]
_Maker: TypeAlias = Callable[[_Row], Any]

_NOTHING = {"one": "None", "list": "[]", "dict": "{}"}


class Layout:
    """The columns that one statement selects, and how its rows become records. Lives as long as the process.

    The function that makes a record is written out as text, as a named tuple's constructor is: that takes half the time of
    `dict(zip(...))`, and a record in another one costs as much as its values.

    Args:
        entity: The mapped class, or an alias of it, whose rows are read.
        node: What is read of each.
        joins: Whether rows that a join finds come in the same statement.
        given: The fields that the caller gives as expressions, which come behind the columns.

    Attributes:
        columns: The expressions that the statement selects.
        branches: What needs a statement of its own.
        make: From what the branches have found to the function that makes a record of a row.
    """

    def __init__(self, entity: Any, node: Node, *, joins: bool, given: Sequence[str] = ()) -> None:
        self.columns: list[Any] = []
        self.branches: list[_Branch] = []
        self._is_joining = joins
        self._joined: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._places: dict[tuple[int, str], int] = {}
        self._derived: set[int] = set()
        self._names: dict[str, Any] = {"Namespace": SimpleNamespace}
        self.entity: Any = _entity(entity, node)
        source = self._source(node, self.entity)
        if not self.columns:
            self.places_of_key(inspect(self.entity).mapper, self.entity)
        self._names |= {f"given_{name}": len(self.columns) + number for number, name in enumerate(given)}
        self.make: Callable[[Sequence[Any]], _Maker] = self._written(f"lambda found: lambda row: {source}")

    @property
    def is_joined(self) -> bool:
        """Whether the statement reads other rows too."""
        return bool(self._joined)

    @property
    def statement(self) -> Select[Any]:
        """The statement for all rows, in no order."""
        build: Any = select  # whose overloads count columns
        return self.with_joined(build(*self.columns).select_from(self.entity))

    def with_joined(self, statement: Select[Any]) -> Select[Any]:
        """Return *statement*, which reads the entity, with the rows that come by a join."""
        for attribute, alias in self._joined.values():
            # An outer join: a row stays although the other one is missing, or out of scope.
            statement = statement.outerjoin(attribute.of_type(alias))
        return read_by_position(statement)

    def records(
        self, rows: Sequence[_Row], connection: Connection, by_keys: Keys, options: Sequence[ORMOption]
    ) -> list[Any]:
        """Return the records of *rows*, with all that is nested in them."""
        found = [branch.read(rows, connection, by_keys, options) for branch in self.branches] if rows else []
        make = self.make(found)
        return [make(row) for row in rows]

    def place(self, entity: Any, name: str) -> int:
        """Return the place of an attribute of *entity*, the mapped class or an alias, in each row."""
        if (id(entity), name) not in self._places:
            self._places[id(entity), name] = len(self.columns)
            column = getattr(entity, name)
            is_derived = id(entity) in self._derived
            self.columns.append(_of_table(column).label(f"layered_{len(self.columns)}") if is_derived else column)
        return self._places[id(entity), name]

    def places_of_key(self, mapper: Mapper[Any], entity: Any) -> list[int]:
        """Return the places of the primary key of *entity*."""
        return [self.place(entity, name) for name in _key_of(mapper)]

    def _written(self, source: str) -> Any:
        return eval(source, self._names)  # noqa: S307  # of names of fields, quoted, and numbers

    def _source(self, node: Node, entity: Any) -> str:
        """Return the expression that makes what *node* reads of *entity*, out of `row` and `found`."""
        match node:
            case Attribute(name):
                return f"row[{self.place(entity, name)}]"
            case Given(name):
                return f"row[given_{name}]"
            case Composite(name):
                composite = inspect(entity).mapper.composites[name]
                values = ", ".join(f"row[{self.place(entity, each.key)}]" for each in composite.props)
                return f"{self._named(_constructor(composite))}({values})"
            case Record(fields):
                items = (f"{name!r}: {self._source(each, entity)}" for name, each in fields.items())
                return f"{{{', '.join(items)}}}"
            case Variants(records):
                return self._source_of_variants(records, entity)
            case Related():
                return self._source_of_related(node, entity)

    def _source_of_variants(self, records: Sequence[tuple[Mapper[Any], Record]], entity: Any) -> str:
        """Return the expression of an object, not a dict: a schema is told by the attributes that it has."""
        (base, record), *derived = records
        source = f"Namespace(**{self._source(record, entity)})"
        if not derived:
            return source
        place = len(self.columns)
        self.columns.append(base.polymorphic_on)
        for mapper, record in derived:
            kinds = [kind for kind, each in base.polymorphic_map.items() if each is mapper]
            part = getattr(entity, mapper.class_.__name__)
            self._derived.add(id(part))
            own = self._source(record, part)
            source = f"(Namespace(**{own}) if row[{place}] in {self._named(kinds)} else {source})"
        return source

    def _source_of_related(self, node: Related, entity: Any) -> str:
        relationship = node.relationship
        if self._is_joining and node.is_joinable:
            joined = self._joined.get((id(entity), relationship.key))
            alias = joined[1] if joined else aliased(relationship.mapper.class_, flat=True)
            self._joined[id(entity), relationship.key] = getattr(entity, relationship.key), alias
            inner = self._source(node.inner, alias)
            return f"({inner} if row[{self.places_of_key(relationship.mapper, alias)[0]}] is not None else None)"
        key = _text_of_places(self.places_of_key(relationship.parent, entity))
        self.branches.append(_Branch(node, self._written(f"lambda row: {key}"), joins=self._is_joining))
        return f"found[{len(self.branches) - 1}].get({key}, {_NOTHING[node.form]})"

    def _named(self, value: object) -> str:
        name = f"name_{len(self._names)}"
        self._names[name] = value
        return name


class _Branch:
    """A relationship that needs a statement of its own: it reads the other end for all rows at this one.

    Args:
        related: The relationship, and what is read of its rows.
        key: From an outer row to its key.
        joins: Whether rows that a join finds come in the same statement.

    Raises:
        TypeError: The rows are sorted by a table that is not joined.
    """

    def __init__(self, related: Related, key: Callable[[_Row], tuple[Any, ...]], *, joins: bool) -> None:
        relationship = related.relationship
        target: Any = relationship.entity
        self._form = related.form
        self._key_of_outer = key
        self._layout = Layout(target.entity, related.inner, joins=joins)
        inner = self._layout.entity
        self._name_of = [self._layout.place(inner, name) for name in related.keyed_by]
        outer = aliased(relationship.parent.class_, flat=True)  # it may be the inner class as well
        self._outer_key = [getattr(outer, name) for name in _key_of(relationship.parent)]
        self._statement = self._joined(relationship, outer)

    def read(
        self, rows: Sequence[_Row], connection: Connection, by_keys: Keys, options: Sequence[ORMOption]
    ) -> Mapping[tuple[Any, ...], Any]:
        """Return what belongs to each of *rows*, by their key."""
        wanted = [key for key in dict.fromkeys(map(self._key_of_outer, rows)) if None not in key]
        found: dict[tuple[Any, ...], Any] = {}
        size = by_keys.parameter_limit // len(self._outer_key)
        for start in range(0, len(wanted), size):
            among = by_keys.among(self._outer_key, wanted[start : start + size])
            inner = connection.execute(self._statement.where(among).options(*options)).all()
            self._collect(found, inner, self._layout.records(inner, connection, by_keys, options))
        return found

    def _collect(self, found: dict[tuple[Any, ...], Any], rows: Sequence[_Row], values: Sequence[Any]) -> None:
        """Add *values*, made of *rows*, to what is *found*; each row has the key of the outer one at its end."""
        width = len(self._layout.columns)
        for row, value in zip(rows, values, strict=True):
            key = tuple(row[width:])
            if self._form == "list":
                found.setdefault(key, []).append(value)
            elif self._form == "dict":
                name: tuple[Any, ...] = tuple(row[place] for place in self._name_of)
                found.setdefault(key, {})[name if name[1:] else next(iter(name))] = value
            else:
                found.setdefault(key, value)

    def _joined(self, relationship: RelationshipProperty[Any], outer: Any) -> Select[Any]:
        """Return the statement of the inner rows; behind the columns comes the key of the outer row."""
        inner: Any = self._layout.entity
        order_by: Sequence[Any] = relationship.order_by or [
            getattr(inner, name) for name in _key_of(relationship.mapper)
        ]
        build: Any = select  # whose overloads count columns
        statement: Select[Any] = build(*self._layout.columns, *self._outer_key).select_from(outer)
        if len(build(*order_by).select_from(inner).get_final_froms()) == 1:
            related = getattr(outer, relationship.key)
            is_own = inner is relationship.entity.entity
            joined = statement.join(related if is_own else related.of_type(inner))
            return self._layout.with_joined(joined.order_by(*order_by))
        between = cast("Any", relationship.secondary)
        if not isinstance(relationship.secondary, Table):
            raise TypeError(
                f"{relationship.parent.class_.__name__}.{relationship.key} cannot be read: it is sorted by another table; "
                f"sort it by columns of {relationship.mapper.class_.__name__}, or by a scalar_subquery()"
            )
        # The join that SQLAlchemy makes has an alias of the table between that no ORDER BY can name.
        link, of_outer = between.alias(), inspect(outer).selectable
        to_link = partial(_moved, to={between: link})
        to_both = partial(_moved, to={between: link} | dict.fromkeys(relationship.parent.tables, of_outer))
        joined = statement.join(link, to_both(relationship.primaryjoin)).join(
            inner, to_link(relationship.secondaryjoin)
        )
        return self._layout.with_joined(joined.order_by(*map(to_link, order_by)))


def _entity(entity: Any, node: Node) -> Any:
    """Return *entity*, with the classes derived from it where *node* reads them too."""
    derived = [mapper.class_ for mapper, _ in node.records[1:]] if isinstance(node, Variants) else []
    return with_polymorphic(entity, derived) if derived else entity


def _key_of(mapper: Mapper[Any]) -> list[str]:
    """Return the names of the attributes that are the primary key."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


def _text_of_places(places: Sequence[int]) -> str:
    return f"({''.join(f'row[{place}], ' for place in places)})"


def _of_table(attribute: Any) -> Any:
    """Return *attribute* as an expression over tables, which SQLAlchemy does not know to belong to a class.

    SQLAlchemy 2.0 leaves out the rows of all other classes where a statement selects an attribute of a derived class.
    """

    def of_table(element: Any, **_: object) -> Any:
        return element.table.c[element.key] if isinstance(element, Column) else None

    expression: Any = type_coerce(attribute, attribute.type)
    return cast("Any", replacement_traverse(expression, {}, of_table))


def _moved(expression: Any, to: Mapping[Any, Any]) -> Any:
    """Return *expression* with the columns of each table replaced by those of what stands for it in the statement."""

    def moved(element: Any, **_: object) -> Any:
        is_moved = isinstance(element, Column) and element.table in to
        return to[element.table].corresponding_column(element) if is_moved else None

    return cast("Any", replacement_traverse(expression, {}, moved))


def _constructor(composite: Any) -> Callable[..., Any]:
    """Return the function that makes a composite object, as the ORM does."""
    is_none = getattr(composite, "return_none_on", None)  # since SQLAlchemy 2.1
    if not callable(is_none):
        constructor: Callable[..., Any] = composite.composite_class
        return constructor
    return lambda *values: None if is_none(*values) else composite.composite_class(*values)
