"""The fields of a schema: what each of them reads of a mapped class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo
from sqlalchemy import and_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.associationproxy import AssociationProxyExtensionType
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.orm.attributes import set_committed_value
from typing_extensions import TypeAliasType

from layered_backend.query.unique_keys import tells_rows_apart

__all__ = ["Attribute", "Composite", "Given", "Node", "Record", "Related", "Variants", "fields_of"]

Form: TypeAlias = Literal["one", "list", "dict"]


@dataclass(frozen=True)
class Attribute:
    """A column, a column property or a hybrid property of the mapped class."""

    name: str


@dataclass(frozen=True)
class Composite:
    """An object that the mapped class makes of several columns."""

    name: str


@dataclass(frozen=True)
class Given:
    """A value that the caller gives as an expression."""

    name: str


@dataclass(frozen=True)
class Record:
    """The values of one row, by the names that the schema looks them up by."""

    fields: Mapping[str, Node]


@dataclass(frozen=True)
class Variants:
    """One of several records, by the class that a row of a hierarchy belongs to; the base class comes first."""

    records: Sequence[tuple[Mapper[Any], Record]]


@dataclass(frozen=True)
class Related:
    """The rows at the other end of a relationship.

    Attributes:
        relationship: The relationship.
        inner: What is read of each row.
        form: Whether it is one, a list, or a dict.
        keyed_by: The attributes that are the key in a dict.
    """

    relationship: RelationshipProperty[Any]
    inner: Node
    form: Form
    keyed_by: Sequence[str] = ()

    @cached_property
    def is_joinable(self) -> bool:
        """Whether a join finds one row at most, so that it never repeats the row that it is joined to."""
        relationship = self.relationship
        if self.form != "one" or isinstance(self.inner, Variants) or relationship.secondary is not None:
            return False
        pairs: Sequence[tuple[Any, Any]] = relationship.local_remote_pairs or ()
        remote: list[Any] = [column for _, column in pairs]
        target: Any = relationship.mapper
        keys = [target.primary_key, *(level.local_table.primary_key for level in target.iterate_to_root())]
        return (
            relationship.entity is target  # and not an alias
            and not target.concrete
            and relationship.primaryjoin.compare(and_(*(local == remote for local, remote in pairs)))
            and (any(key and set(key) <= set(remote) for key in keys) or tells_rows_apart(relationship.mapper, remote))
        )


Node: TypeAlias = Attribute | Composite | Given | Record | Variants | Related


class _UnreadableError(TypeError):
    """Says why an attribute cannot be read."""


def fields_of(mapper: Mapper[Any], schema: Any, given: Sequence[str] = ()) -> Record | Variants:
    """Return what *schema*, or each schema of a union, reads of a row of *mapper*'s class.

    Args:
        mapper: The mapper of the mapped class.
        schema: A Pydantic model; a `RootModel` of a union stands for the union.
        given: The fields that the caller gives as expressions.

    Raises:
        TypeError: A field cannot be read, or is none, or a schema is nested in itself.
    """
    schemas = _schemas_in(_forms(schema))
    if not schemas:
        raise TypeError(f"{_name_of(schema)} is no schema for a row; project takes a Pydantic model")
    names = {name for each in schemas for name in each.model_fields}
    for unknown in (name for name in given if name not in names):
        nearest = get_close_matches(unknown, names, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise TypeError(f"{_name_of(schema)} has no field {unknown}, which a value is given for{hint}")
    return _records(mapper, schemas, (), given)


def _records(
    mapper: Mapper[Any], schemas: Sequence[type[BaseModel]], above: Sequence[type[BaseModel]], given: Sequence[str] = ()
) -> Record | Variants:
    for schema in schemas:
        if schema in above:
            raise TypeError(
                f"{schema.__name__} is nested in itself, which has no end; give the inner one a schema of its own"
            )
    if len(schemas) == 1:
        return _record(mapper, schemas[0], above, given)
    return _variants(mapper, schemas, above, given)


def _variants(
    mapper: Mapper[Any], schemas: Sequence[type[BaseModel]], above: Sequence[type[BaseModel]], given: Sequence[str]
) -> Variants:
    """Return what a union of *schemas* reads: of each class, what those schemas read that its rows can become."""
    union = " | ".join(schema.__name__ for schema in schemas)
    mappers = list(mapper.self_and_descendants)
    if len(mappers) > 1 and (mapper.polymorphic_on is None or any(each.concrete for each in mappers)):
        raise TypeError(f"{union} cannot be read: the rows of {mapper.class_.__name__} do not tell their class")
    errors: dict[type[BaseModel], TypeError] = {}
    unread = set(schemas)
    records: list[tuple[Mapper[Any], Record]] = []
    for each in mappers:
        fields: Mapping[str, Node] = {}
        fits = False
        for schema in schemas:
            try:
                fields = _merged_fields(fields, _record(each, schema, above, given, is_partial=True).fields)
            except TypeError as error:
                errors.setdefault(schema, error)
            else:
                fits = True
                unread.discard(schema)
        if not fits and len(list(each.self_and_descendants)) == 1:
            raise TypeError(f"no schema of {union} can be read from {each.class_.__name__}; add one to the union")
        records.append((each, Record(fields)))
    for schema in schemas:
        if schema in unread:
            raise errors[schema]
    return Variants(records)


def _record(
    mapper: Mapper[Any],
    schema: type[BaseModel],
    above: Sequence[type[BaseModel]],
    given: Sequence[str] = (),
    *,
    is_partial: bool = False,
) -> Record:
    """Return the record of *schema*; if it *is_partial*, without what the class lacks and a default stands for."""
    mapper.relationships  # noqa: B018  # configures the mappers, or raises what keeps them from it
    schema.model_rebuild()  # which does nothing unless an annotation named a class that was not there yet
    reader = _Reader((*above, schema))
    fields: dict[str, Node] = {}
    for name, field in schema.model_fields.items():
        paths = _paths(schema, name, field)
        try:
            key, node = (
                (paths[0][0], Given(name))
                if name in given
                else reader.read_first(mapper, name, paths, field.annotation)
            )
            fields[key] = _merged(fields.get(key, node), node)
        except _UnreadableError as error:
            if is_partial and not field.is_required():
                continue
            raise TypeError(f"{schema.__name__}.{name} cannot be read: {error}") from None
    return Record(fields)


def _paths(schema: type[BaseModel], name: str, field: FieldInfo) -> list[list[Any]]:
    """Return the paths that Pydantic looks a field up by, in its order."""
    config = schema.model_config
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [] if alias is None else [alias]
    paths: list[list[Any]] = [choice.path if isinstance(choice, AliasPath) else [choice] for choice in choices]
    if config.get("validate_by_alias") is False:
        paths = []
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    return [*paths, [name]] if by_name or not paths else paths


@dataclass(frozen=True)
class _Reader:
    """Finds what one field reads, of the class or of those that it is related to."""

    above: Sequence[type[BaseModel]]

    def read_first(
        self, mapper: Mapper[Any], name: str, paths: Sequence[Sequence[Any]], annotation: Any
    ) -> tuple[str, Node]:
        """Return the name that Pydantic finds the field by, and what it reads.

        The first path that leads somewhere counts, as in Pydantic; the field's own name is the last resort.
        """
        descriptors = mapper.all_orm_descriptors
        for path in paths:
            if path[0] in descriptors:
                return path[0], self._follow(mapper, path, annotation)
        if name in descriptors and len(paths[0]) == 1:
            return paths[0][0], self._follow(mapper, [name], annotation)
        raise _no_column(mapper)

    def _follow(self, mapper: Mapper[Any], path: Sequence[Any], annotation: Any) -> Node:
        name, rest = path[0], path[1:]
        if not rest:
            return self._read(mapper, name, [annotation])
        if name in mapper.column_attrs:
            return Attribute(name)  # such as JSON, into which Pydantic follows the path
        if name not in mapper.relationships:
            raise _no_column(mapper)
        relationship = mapper.relationships[name]
        form: Form = "one"
        if relationship.uselist:
            if not isinstance(rest[0], int) or _makes_dict(relationship):
                raise _no_column(mapper)
            form, rest = "list", rest[1:]
        if not rest:
            return Related(relationship, self._rows(relationship, [annotation]), form)
        return Related(relationship, Record({rest[0]: self._follow(relationship.mapper, rest, annotation)}), form)

    def _read(self, mapper: Mapper[Any], name: str, annotations: Sequence[Any]) -> Node:
        while name in mapper.synonyms:
            name = mapper.synonyms[name].name
        if name in mapper.relationships:
            relationship = mapper.relationships[name]
            return self._related(relationship, annotations, partial(self._rows, relationship))
        if name in mapper.column_attrs:
            return Attribute(name)
        if name in mapper.composites:
            return Composite(name)
        kind = mapper.all_orm_descriptors[name].extension_type if name in mapper.all_orm_descriptors else None
        if kind is HybridExtensionType.HYBRID_PROPERTY:
            _require_expression(mapper, name)
            return Attribute(name)
        if kind is AssociationProxyExtensionType.ASSOCIATION_PROXY:
            return self._read_through(mapper, getattr(mapper.class_, name), annotations)
        raise _no_column(mapper)

    def _read_through(self, mapper: Mapper[Any], proxy: Any, annotations: Sequence[Any]) -> Node:
        """Return what an association proxy reads: an attribute of the rows at the other end of a relationship."""
        relationship = mapper.relationships.get(proxy.target_collection)
        if relationship is None:
            raise _no_column(mapper)
        return self._related(relationship, annotations, partial(self._read, relationship.mapper, proxy.value_attr))

    def _related(
        self, relationship: RelationshipProperty[Any], annotations: Sequence[Any], read: Callable[[Sequence[Any]], Node]
    ) -> Related:
        if not relationship.uselist:
            return Related(relationship, read(annotations), "one")
        forms = [found for annotation in annotations for found in _forms(annotation)]
        wanted = {form for form, _ in forms}
        form: Form = "dict" if "dict" in wanted or ("list" not in wanted and _makes_dict(relationship)) else "list"
        elements = [element for found, element in forms if found == form]
        if not elements and not any(annotation in (Any, object, list, set, dict) for _, annotation in forms):
            raise _UnreadableError(
                f"{relationship.parent.class_.__name__} has no column of that name, and the relationship "
                f"{relationship.key} has several rows; annotate the field as a list or a set"
            )
        keyed_by = _key_attributes(relationship) if form == "dict" else ()
        return Related(relationship, read(elements or [Any]), form, keyed_by)

    def _rows(self, relationship: RelationshipProperty[Any], annotations: Sequence[Any]) -> Record | Variants:
        """Return what the schemas in *annotations* read of a row at the other end of a relationship."""
        forms = [found for annotation in annotations for found in _forms(annotation)]
        schemas = _schemas_in(forms)
        if not schemas:
            target, key = relationship.mapper.class_.__name__, relationship.key
            kind = "several rows" if relationship.uselist else "one row"
            raise _UnreadableError(
                f"{relationship.parent.class_.__name__} has no column of that name, and the relationship {key} "
                f"has {kind} of {target}, which need a schema; for one attribute of {target}, read an "
                f'association_proxy("{key}", ...)'
            )
        if len(schemas) > 1 and not relationship.entity.is_mapper:
            raise _UnreadableError(
                f"{relationship.key} is a relationship to an alias, whose rows are of one class; give it one schema"
            )
        return _records(relationship.mapper, schemas, self.above)


def _no_column(mapper: Mapper[Any]) -> _UnreadableError:
    model = mapper.class_.__name__
    return _UnreadableError(
        f"{model} has no column of that name, and no relationship with a schema; "
        f"make it a computed_field, or a column_property or hybrid_property of {model}, or give it by name: "
        "project(..., field=expression)"
    )


def _require_expression(mapper: Mapper[Any], name: str) -> None:
    """Raise unless the hybrid property is one expression over the columns of the class."""
    model = mapper.class_.__name__
    no_expression = (
        f"the hybrid_property {model}.{name} is no SQL expression; give it one with @{name}.inplace.expression"
    )
    try:
        expression: Any = getattr(mapper.class_, name)
        froms = select(expression).select_from(mapper.class_).get_final_froms()
    except (AttributeError, TypeError, ValueError, NotImplementedError, SQLAlchemyError) as error:
        raise _UnreadableError(no_expression) from error
    is_relationship = isinstance(getattr(expression, "property", None), RelationshipProperty)
    if is_relationship or isinstance(expression, bool):
        raise _UnreadableError(no_expression)
    if len(froms) > 1:
        raise _UnreadableError(
            f"the hybrid_property {model}.{name} reads a table that is not joined; make it a scalar_subquery()"
        )


def _merged(one: Node, other: Node) -> Node:
    """Return what both fields read under one name.

    Raises:
        _UnreadableError: They read different things.
    """
    if one == other:
        return one
    if isinstance(one, Record) and isinstance(other, Record):
        return Record(_merged_fields(one.fields, other.fields))
    if isinstance(one, Related) and isinstance(other, Related):
        of_one = (one.relationship, one.form, one.keyed_by)
        if of_one == (other.relationship, other.form, other.keyed_by):
            return Related(one.relationship, _merged(one.inner, other.inner), one.form, one.keyed_by)
    raise _UnreadableError("another field has the same alias, and reads something else")


def _merged_fields(one: Mapping[str, Node], other: Mapping[str, Node]) -> Mapping[str, Node]:
    return {**one, **{name: _merged(one.get(name, node), node) for name, node in other.items()}}


# Annotations


def _forms(annotation: Any) -> Iterator[tuple[Form, Any]]:
    """Yield each alternative of an annotation: whether it is one, a list or a dict, and the annotation of what is in it."""
    annotation = _unwrapped(annotation)
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for alternative in get_args(annotation):
            yield from _forms(alternative)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield "dict", get_args(annotation)[1]
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        for element in get_args(annotation):
            if element is not Ellipsis:
                yield "list", element
    elif annotation is not NoneType:
        yield "one", annotation


def _unwrapped(annotation: Any) -> Any:
    """Return the annotation that `Annotated`, a type alias or a `RootModel` stands for."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if isinstance(annotation, TypeAliasType) or isinstance(origin, TypeAliasType):
        return _unwrapped(annotation.__value__)
    if origin is None and isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _unwrapped(cast("Any", annotation).model_fields["root"].annotation)
    return cast("Any", annotation)


def _schemas_in(forms: Iterable[tuple[Form, Any]]) -> list[type[BaseModel]]:
    found = [element for form, element in forms if form == "one"]
    return [each for each in dict.fromkeys(found) if isinstance(each, type) and issubclass(each, BaseModel)]


def _name_of(schema: Any) -> str:
    return getattr(schema, "__name__", str(schema))


# Collections that are keyed


def _makes_dict(relationship: RelationshipProperty[Any]) -> bool:
    collection = cast("Any", relationship).collection_class
    return collection is not None and isinstance(collection(), Mapping)


def _key_attributes(relationship: RelationshipProperty[Any]) -> Sequence[str]:
    """Return the attributes that are the key of an entity in its collection.

    The key's function is tried on an entity whose attributes are marks.
    """
    name = f"{relationship.parent.class_.__name__}.{relationship.key}"
    if not _makes_dict(relationship):
        raise _UnreadableError(f"{name} is a list, and no dict; map it with collection_class=attribute_keyed_dict(...)")
    collection = cast("Any", relationship).collection_class
    entity = relationship.mapper.class_manager.new_instance()
    marks: dict[Any, str] = {}
    for attribute in relationship.mapper.column_attrs:
        mark = object()
        marks[mark] = attribute.key
        set_committed_value(entity, attribute.key, mark)
    try:
        key: Any = collection().keyfunc(entity)
        if isinstance(key, tuple):
            return [marks[part] for part in cast("Any", key)]
        return [marks[key]]
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise _UnreadableError(
            f"the key of {name} is computed in Python; key it by columns, with attribute_keyed_dict or column_keyed_dict"
        ) from error
