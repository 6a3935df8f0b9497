"""The rows of one mapped class in the database: read by natural key, written by primary key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from functools import cached_property
from inspect import Parameter, signature
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Integer, Table, and_, delete, inspect, or_, select, true
from sqlalchemy import Sequence as NumberSequence
from sqlalchemy.orm import Mapper, Session, lazyload
from sqlalchemy.orm.attributes import flag_modified

from layered_backend.batch import MISSING, Batch
from layered_backend.dialects import GivenKeys, dialect_named
from layered_backend.dialects.rows import processed
from layered_backend.errors import SeedDataError
from layered_backend.query.unique_keys import tables_among
from layered_backend.repository.bulk_insert import insert_as_given
from layered_backend.repository.write_gate import Verb, plan_write
from layered_backend.seeding.associations import Associations
from layered_backend.seeding.field import Field, fields_of
from layered_backend.seeding.seeder import Definition, NewRow, Ref
from layered_backend.session import GuardedSession
from layered_backend.upstream.sqlalchemy.events import is_heard

__all__ = ["BATCH_SIZE", "SeedTable", "names_by_column"]

BATCH_SIZE = 1000  # rows, each of which costs its key's parameters in a statement

Values = tuple[Any, ...]

T = TypeVar("T")


class SeedTable:
    """The stored rows of a seeder's mapped class. Lives as long as the run's transaction.

    Args:
        definition: Of the seeder.
        referable: Attributes that others refer to, besides the primary key.
        session: Where to work.

    Attributes:
        mapper: The mapper of the class.
        key: The names of the natural key's attributes.
        fields: The attributes that have a column.
        identity: The names of the primary key's attributes.
        associations: What is associated with the rows by many-to-many relationships.
        counted: The names of the attributes in which None stands for the value that the database counts up.
        referable: The names of the attributes whose values are read with each row: the primary key's, and those that
            others refer to.
    """

    def __init__(self, definition: Definition, referable: Iterable[str], session: GuardedSession) -> None:
        self._session = session
        self.key: tuple[str, ...] = definition.key
        self.mapper: Mapper[Any] = definition.mapper
        mapper = self.mapper
        self._dialect = session.get_bind().dialect
        self._database_dialect = dialect_named(self._dialect.name)
        self.fields: Mapping[str, Field] = fields_of(mapper, self._dialect)
        self._own: Sequence[Table] = [*tables_among(mapper.tables)]
        self._counters: Mapping[str, Column[Any]] = dict(_counters(mapper))
        self._greatest: dict[str, int] = {}
        self._advanced: dict[str, int] = {}
        names = names_by_column(mapper)
        self.identity: tuple[str, ...] = tuple(names[column] for column in mapper.primary_key)
        self.counted: Set[str] = {
            *self.identity, *(name for name, column in self._counters.items() if not column.nullable)
        }  # fmt: skip
        self.associations: Associations = Associations(mapper, session)
        self._selects: dict[tuple[str, ...], Any] = {}
        self.referable: tuple[str, ...] = (*self.identity, *(name for name in referable if name not in self.identity))

    @property
    def tables(self) -> Collection[Table]:
        """The tables of the mapped class, and those with foreign keys to them."""
        others: set[Table] = {key.table for table in self._own for key in _keys_to(table)}
        return [*self._own, *(others - set(self._own))]

    @cached_property
    def own_references(self) -> Mapping[str, str]:
        """The attributes with a foreign key to the mapped tables, each with the attribute that it refers to.

        The key by which the table of a subclass refers to that of its base is one attribute, and no reference.
        """
        names = names_by_column(self.mapper)
        keys = ((names.get(key.parent), names.get(key.column)) for table in self._own for key in table.foreign_keys)
        return {name: target for name, target in keys if name and target and name != target}

    def referred_by(self, field: Field) -> str | None:
        """Return the attribute that *field*, of any table, refers to: that of its foreign key, else the primary key.

        None where neither says so.
        """
        for key in field.column.foreign_keys:
            target = names_by_column(self.mapper).get(key.column)
            if target is not None:
                return target
        return self.identity[0] if len(self.identity) == 1 else None

    async def read(self, names: Sequence[str], keys: Collection[Values]) -> list[Values]:
        """Return the rows that have one of the natural *keys*: their values of *names*, then of `referable`.

        Each part of a key is compared by value, and NULL equals NULL.
        """
        rows: list[Values] = []
        for some in _batched(keys):
            given = None if None in chain.from_iterable(some) else self._given_keys
            parameters = None if given is None else given.parameters(some)
            if given is None or parameters is None:
                rows += await self._all(self._selecting(names, self._has_key(some)))
            else:
                rows += await self._all(self._kept_selecting(tuple(names), given), parameters)
        return self._in_stored_form(rows, names)

    async def read_all(self, names: Sequence[str]) -> list[Values]:
        """Return all rows: their values of *names*, then of `referable`, then what tells their class where something does."""
        mapper = self.mapper
        classes: list[Any] = [] if mapper.polymorphic_on is None else [mapper.polymorphic_on]
        rows = await self._all(self._selecting(names, true()).add_columns(*classes))
        return self._in_stored_form([tuple(row) for row in rows], names)

    @cached_property
    def _given_keys(self) -> GivenKeys | None:
        return self._database_dialect.keys.given([self._attribute(name) for name in self.key])

    def _kept_selecting(self, names: tuple[str, ...], given: GivenKeys) -> Any:
        """Return the statement that is the same for all batches: building it is a tenth of reading one."""
        if names not in self._selects:
            self._selects[names] = self._selecting(names, given.criterion())
        return self._selects[names]

    def _selecting(self, names: Sequence[str], criterion: ColumnElement[bool]) -> Any:
        return (
            select(*(self._attribute(name) for name in (*names, *self.referable)))
            .select_from(self.mapper)
            .where(criterion)
        )

    async def insert(self, rows: Sequence[Mapping[str, Any]]) -> list[Values]:
        """Insert *rows*, and return the values of `referable` that they got."""
        # Nobody may be given a key by the database that is about to be written, not even while it is.
        self.note_counted({name: [row.get(name) for row in rows] for name in self._counters})
        await self.advance_counters()
        rows = [
            {name: value for name, value in row.items() if not (value is None and name in self.counted)} for row in rows
        ]
        if plan_write(self._session.sync_session, self.mapper, Verb.INSERT, Batch.of(rows)) is not None:
            return await self._insert_in_bulk(rows)

        def insert_entities(session: Session) -> list[Values]:
            entities = [_entity(self.mapper, row) for row in rows]
            session.add_all(self._in_counting_order(rows, entities))
            session.flush()
            return [tuple(getattr(entity, name) for name in self.referable) for entity in entities]

        return await self._session.run_sync(insert_entities)

    async def _insert_in_bulk(self, rows: Sequence[Mapping[str, Any]]) -> list[Values]:
        """Insert *rows* and read their keys: one statement each, where entities cost SQLite a statement for each row."""
        await self._session.run_sync(insert_as_given, self.mapper, self._in_counting_order(rows, rows))
        width = len(self.key)
        keys = [tuple(row[name] for name in self.key) for row in rows]
        stored = {row[:width]: row[width:] for row in await self.read(self.key, keys)}
        if not stored.keys() >= set(keys):
            raise SeedDataError("the database changes a value of the key when it stores it")
        return [stored[key] for key in keys]

    async def update(self, changes: Sequence[tuple[Values, Mapping[str, Any]]]) -> None:
        """Change rows.

        Args:
            changes: The primary key of each row, and its new values by attribute.
        """

        def update(session: Session) -> None:
            entities = {inspect(entity, raiseerr=True).identity: entity for entity in session.scalars(found)}
            for identity, values in changes:
                for name, value in values.items():
                    setattr(entities[identity], name, value)
                    flag_modified(entities[identity], name)  # to the session, 1 and true are the same
            session.flush()

        found = select(self.mapper.class_).where(self._has_identity([identity for identity, _ in changes]))
        found = found.options(lazyload("*")).execution_options(populate_existing=True)
        await self._session.run_sync(update)

    async def delete(self, identities: Sequence[Values]) -> None:
        """Delete the rows that have those primary keys: as the mapper says where it says something, else as the database does."""
        for some in _batched(identities):
            await self.associations.clear(some)
            if self._deletes_more_than_rows:
                await self._delete_entities(some)
            else:
                statement = delete(self.mapper.class_).where(self._has_identity(some))
                await self._session.execute(statement, execution_options={"synchronize_session": False})

    def refusal(self, name: str, value: Any) -> str | None:
        """Return why *value* cannot be written as the attribute *name*, or None if it can."""
        identity = self._counters[name].identity if name in self._counters else None
        if value is not None and identity is not None and identity.always and self._dialect.supports_identity_columns:
            return "the database always counts it up itself; leave it out, or write Identity(always=False)"
        return self.fields[name].refusal(value)

    def note_counted(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Note the values that rows give of what the database counts up otherwise.

        Args:
            columns: Values by attribute; attributes that are not counted up are passed over.
        """
        for name in self._counters.keys() & columns.keys():
            numbers = filter(None, self._numbers(name, columns[name]))
            self._greatest[name] = max(self._greatest.get(name, 0), *numbers, 0)

    async def advance_counters(self) -> None:
        """Have what the database counts up next be greater than what was noted."""
        for name, value in self._greatest.items():
            if value > self._advanced.get(name, 0):
                self._advanced[name] = value
                await self._session.run_sync(self._advance, self._counters[name], value)

    def _advance(self, session: Session, column: Column[Any], value: int) -> None:
        self._database_dialect.writing.advance_sequence(session.connection(), column, value)

    def _numbers(self, name: str, values: Sequence[Any]) -> list[int | None]:
        """Return the numbers that stand for *values* in the database; None for what is left out or unknown."""
        plain = [None if isinstance(value, (NewRow, Ref, type(MISSING))) else value for value in values]
        numbers = processed(self._counters[name].type, plain, self._dialect)
        return [int(number) if isinstance(number, (int, Decimal)) else None for number in numbers]

    def _in_counting_order(self, rows: Sequence[Mapping[str, Any]], items: Sequence[T]) -> Sequence[T]:
        """Return *items*, one for each of *rows*: those with a key of their own, then those whose key is counted up.

        Else the database might give a key to a row before the one to which it belongs is written. Where it counts on by
        row, the greatest key comes first: else it would give to others, while the rows are being written, the keys
        between those that are and those that are to come. A row that refers to another one of its table stays behind that.
        """
        names = [name for name in self._counters if any(name in row for row in rows)]
        if not names:
            return items
        numbers = self._numbers(names[0], [row.get(names[0]) for row in rows])
        free = [
            index
            for index, row in enumerate(rows)
            if numbers[index] is not None and all(row.get(reference) is None for reference in self.own_references)
        ]
        if self._database_dialect.writing.counts_on_by_row and free:
            greatest = max(free, key=lambda index: numbers[index] or 0)
            free = [greatest, *(index for index in free if index != greatest)]
        order = dict.fromkeys([*free, *range(len(rows))])
        return [items[index] for index in order]

    @property
    def _deletes_more_than_rows(self) -> bool:
        """Tell whether the mapper has more to do than to delete a row: of other tables, of other classes, for listeners."""
        mapper = self.mapper
        has_family = mapper.inherits is not None or mapper.polymorphic_on is not None
        return (
            has_family
            or any(relation.cascade.delete for relation in mapper.relationships)
            or is_heard(mapper, "before_delete", "after_delete")
        )

    async def _delete_entities(self, identities: Sequence[Values]) -> None:
        def delete_all(session: Session) -> None:
            for entity in session.scalars(select(self.mapper.class_).where(self._has_identity(identities))).unique():
                session.delete(entity)
            session.flush()

        await self._session.run_sync(delete_all)

    async def _all(self, statement: Any, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Return rows, past the session: it would look for entities in them."""
        return await self._session.run_sync(
            lambda session: list(session.connection().execute(statement, parameters).all())
        )

    def _in_stored_form(self, rows: list[Values], names: Sequence[str]) -> list[Values]:
        """Return *rows* with keys as rows of a seeder have them."""
        forms = [self.fields[name].stored_form for name in self.key]
        if not any(forms) or tuple(names[: len(forms)]) != self.key:
            return rows
        return [
            (
                *(form(v) if form and v is not None else v for form, v in zip(forms, row, strict=False)),
                *row[len(forms) :],
            )
            for row in rows
        ]

    def _attribute(self, name: str) -> Any:
        # That of the class itself: of a subclass, the attribute of the mapper may be its base's, and find the base's rows.
        return getattr(self.mapper.class_, name)

    def _has_key(self, keys: Sequence[Values]) -> ColumnElement[bool]:
        """Return what the rows meet that have one of *keys*, of which those with the same NULLs are asked for together."""
        attributes = [self._attribute(name) for name in self.key]
        if None not in chain.from_iterable(keys):
            return self._database_dialect.keys.among(attributes, keys)
        by_nulls: dict[Values, list[Values]] = {}
        for key in keys:
            by_nulls.setdefault(tuple(part is None for part in key), []).append(key)
        return or_(*(self._is_among(attributes, nulls, some) for nulls, some in by_nulls.items()))

    def _is_among(self, attributes: Sequence[Any], nulls: Values, keys: Sequence[Values]) -> ColumnElement[bool]:
        empty = [attribute.is_(None) for attribute, is_null in zip(attributes, nulls, strict=True) if is_null]
        given = [attribute for attribute, is_null in zip(attributes, nulls, strict=True) if not is_null]
        if not given:
            return and_(*empty)
        return and_(
            *empty,
            self._database_dialect.keys.among(given, [tuple(part for part in key if part is not None) for key in keys]),
        )

    def _has_identity(self, identities: Sequence[Values]) -> ColumnElement[bool]:
        return self._database_dialect.keys.among([self._attribute(name) for name in self.identity], identities)


def names_by_column(mapper: Mapper[Any]) -> Mapping[Any, str]:
    """Return the attribute of each column: of a hierarchy, the tables of which may have columns that it does not map."""
    return {column: attribute.key for attribute in mapper.column_attrs for column in attribute.columns}


def _counters(mapper: Mapper[Any]) -> Iterator[tuple[str, Column[Any]]]:
    """Yield the attributes that the database counts up, each with the column in that table of a hierarchy which counts."""
    for column, name in names_by_column(mapper).items():
        table: object = getattr(column, "table", None)
        if isinstance(table, Table) and _may_count(column):
            yield name, column


def _may_count(column: Column[Any]) -> bool:
    """Tell whether *column* may draw its values from a counter; what the server fills in unseen may."""
    drawn: object = getattr(column.server_default, "arg", None)
    is_plain_default = drawn is not None and not hasattr(drawn, "sequence") and "nextval" not in str(drawn).lower()
    return (
        column is column.table.autoincrement_column
        or column.identity is not None
        or isinstance(column.default, NumberSequence)
        or (column.server_default is not None and isinstance(column.type, Integer) and not is_plain_default)
    )


def _entity(mapper: Mapper[Any], row: Mapping[str, Any]) -> Any:
    """Return a new entity; a constructor of the class's own need not know all attributes."""
    parameters = signature(mapper.class_).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return mapper.class_(**row)
    entity = mapper.class_(**{name: value for name, value in row.items() if name in parameters})
    for name in row.keys() - parameters.keys():
        setattr(entity, name, row[name])
    return entity


def _keys_to(table: Table) -> Iterator[Any]:
    for other in table.metadata.tables.values():
        for key in other.foreign_key_constraints:
            if key.referred_table is table:
                yield key


def _batched(values: Collection[Values]) -> Iterator[Sequence[Values]]:
    listed = list(values)
    for start in range(0, len(listed), BATCH_SIZE):
        yield listed[start : start + BATCH_SIZE]
