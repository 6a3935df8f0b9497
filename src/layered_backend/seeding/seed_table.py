"""The rows of one mapped class in the database: read by natural key, written by primary key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, and_, delete, inspect, or_, select
from sqlalchemy.orm import Mapper, Session, lazyload
from sqlalchemy.orm.attributes import flag_modified

from layered_backend.dialects import GivenKeys, dialect_named
from layered_backend.errors import SeedDataError
from layered_backend.repository.bulk_insert import insert_as_given
from layered_backend.seeding.field import Field, fields_of
from layered_backend.seeding.seeder import Definition
from layered_backend.session import GuardedSession
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.sqlalchemy.mapper import has_plain_constructor

__all__ = ["BATCH_SIZE", "SeedTable"]

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
        key: The names of the natural key's attributes.
        fields: The attributes that have a column.
        identity: The names of the primary key's attributes.
        referable: The names of the attributes whose values are read with each row: the primary key's, and those that
            others refer to.
    """

    def __init__(self, definition: Definition, referable: Iterable[str], session: GuardedSession) -> None:
        self._session = session
        self.key: tuple[str, ...] = definition.key
        mapper = self._mapper = definition.mapper
        dialect = session.get_bind().dialect
        self._database_dialect = dialect_named(dialect.name)
        self.fields: Mapping[str, Field] = fields_of(mapper, dialect)
        self.identity: tuple[str, ...] = tuple(
            mapper.get_property_by_column(column).key for column in mapper.primary_key
        )
        self._selects: dict[tuple[str, ...], Any] = {}
        self.referable: tuple[str, ...] = (*self.identity, *(name for name in referable if name not in self.identity))

    @property
    def tables(self) -> Collection[Table]:
        """The tables of the mapped class, and those with foreign keys to them."""
        mapped: Iterable[object] = self._mapper.tables
        own: list[Table] = [table for table in mapped if isinstance(table, Table)]
        others: set[Table] = {key.table for table in own for key in _keys_to(table)}
        return [*own, *(others - set(own))]

    @property
    def own_references(self) -> Mapping[str, str]:
        """The attributes with a foreign key to the same table, each with the attribute that it refers to."""
        table = self._mapper.local_table
        keys = table.foreign_keys if isinstance(table, Table) else ()
        name_of = self._mapper.get_property_by_column
        return {name_of(key.parent).key: name_of(key.column).key for key in keys if key.column.table is table}

    def referred_by(self, field: Field) -> str | None:
        """Return the attribute that *field*, of any table, refers to: that of its foreign key, else the primary key.

        None where neither says so.
        """
        for key in field.column.foreign_keys:
            if key.column.table in self._mapper.tables:
                return self._mapper.get_property_by_column(key.column).key
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

    @cached_property
    def _given_keys(self) -> GivenKeys | None:
        return self._database_dialect.keys.given([self._attribute(name) for name in self.key])

    def _kept_selecting(self, names: tuple[str, ...], given: GivenKeys) -> Any:
        """Return the statement that is the same for all batches: building it is a tenth of reading one."""
        if names not in self._selects:
            self._selects[names] = self._selecting(names, given.criterion())
        return self._selects[names]

    def _selecting(self, names: Sequence[str], criterion: ColumnElement[bool]) -> Any:
        return select(*(self._attribute(name) for name in (*names, *self.referable))).where(criterion)

    async def insert(self, rows: Sequence[Mapping[str, Any]]) -> list[Values]:
        """Insert *rows*, and return the values of `referable` that they got."""
        await self._keep_sequence_ahead(rows)
        if not _is_particular(self._mapper):
            return await self._insert_in_bulk(rows)

        def insert_entities(session: Session) -> list[Values]:
            entities = [self._mapper.class_(**row) for row in rows]
            session.add_all(self._greatest_first(rows, entities))
            session.flush()
            return [tuple(getattr(entity, name) for name in self.referable) for entity in entities]

        return await self._session.run_sync(insert_entities)

    async def _insert_in_bulk(self, rows: Sequence[Mapping[str, Any]]) -> list[Values]:
        """Insert *rows* and read their keys: one statement each, where entities cost SQLite a statement for each row."""
        await self._session.run_sync(insert_as_given, self._mapper, self._greatest_first(rows, rows))
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

        found = select(self._mapper.class_).where(self._has_identity([identity for identity, _ in changes]))
        found = found.options(lazyload("*")).execution_options(populate_existing=True)
        await self._session.run_sync(update)

    async def delete(self, identities: Sequence[Values]) -> None:
        """Delete the rows that have those primary keys: as the mapper says where it says something, else as the database does."""
        for some in _batched(identities):
            if self._mapper.inherits or any(relation.cascade.delete for relation in self._mapper.relationships):
                await self._delete_entities(some)
            else:
                statement = delete(self._mapper.class_).where(self._has_identity(some))
                await self._session.execute(statement, execution_options={"synchronize_session": False})

    async def advance_sequence(self, value: int) -> None:
        """See to it that the database counts up keys beyond *value*."""
        column = self._counted_column
        if column is not None:
            await self._session.run_sync(
                lambda s: self._database_dialect.writing.advance_sequence(s.connection(), column, value)
            )

    @property
    def counted(self) -> str | None:
        """The attribute whose values the database counts up, or None."""
        column = self._counted_column
        return None if column is None else self._mapper.get_property_by_column(column).key

    @property
    def _counted_column(self) -> Any:
        table = self._mapper.local_table
        return table.autoincrement_column if isinstance(table, Table) else None

    async def _keep_sequence_ahead(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let nobody be given a key by the database that is about to be written, not even while it is."""
        name = self.counted
        given = [row[name] for row in rows if row.get(name) is not None] if name else []
        if given:
            await self.advance_sequence(max(given))

    def _greatest_first(self, rows: Sequence[Mapping[str, Any]], items: Sequence[T]) -> Sequence[T]:
        """Return *items*, one for each of *rows*, with that of the greatest key at the start, where the database counts on by row.

        Else it would give to others, while the rows are being written, the keys between those that are and those that
        are to come. A row that refers to another one of its table stays where it is, behind that.
        """
        name = self.counted
        if name is None or not self._database_dialect.writing.counts_on_by_row:
            return items
        free = [
            (row[name], index)
            for index, row in enumerate(rows)
            if row.get(name) is not None and all(row.get(reference) is None for reference in self.own_references)
        ]
        if not free:
            return items
        _, greatest = max(free)
        return [items[greatest], *items[:greatest], *items[greatest + 1 :]]

    async def _delete_entities(self, identities: Sequence[Values]) -> None:
        def delete_all(session: Session) -> None:
            for entity in session.scalars(select(self._mapper.class_).where(self._has_identity(identities))).unique():
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
        return self._mapper.attrs[name].class_attribute

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


def _is_particular(mapper: Mapper[Any]) -> bool:
    """Tell whether new entities may be more than their rows: by validators, listeners, or a constructor of their own."""
    is_more_than_columns = bool(mapper.inherits or mapper.polymorphic_on is not None or mapper.validators)
    return (
        is_more_than_columns or is_heard(mapper, "before_insert", "after_insert") or not has_plain_constructor(mapper)
    )


def _keys_to(table: Table) -> Iterator[Any]:
    for other in table.metadata.tables.values():
        for key in other.foreign_key_constraints:
            if key.referred_table is table:
                yield key


def _batched(values: Collection[Values]) -> Iterator[Sequence[Values]]:
    listed = list(values)
    for start in range(0, len(listed), BATCH_SIZE):
        yield listed[start : start + BATCH_SIZE]
