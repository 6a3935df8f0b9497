"""Upserts: one statement inserts a row, or changes the row with the same key, also under concurrent writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, Table, UniqueConstraint, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapper, Session, SessionTransaction

from layered_backend.batch import NOTHING, Batch
from layered_backend.dialects import DatabaseDialect, UpsertRule, dialect_named
from layered_backend.dialects.rows import processed
from layered_backend.errors import InvalidDataError, UniqueViolationError
from layered_backend.field_values import Data, stored_forms
from layered_backend.memoization import memoized
from layered_backend.query.scope import active_scopes
from layered_backend.query.unique_keys import is_partial
from layered_backend.repository.bulk_insert import alike, insert_rows
from layered_backend.repository.column_defaults import add_defaults, values_on_update
from layered_backend.repository.orm_bypass import are_plain_values, columns_by_name
from layered_backend.repository.scoped_values import new_batch_in_scope

__all__ = ["Attributes", "Upsert", "undone_alone"]

Attributes: TypeAlias = InstrumentedAttribute[Any] | Sequence[InstrumentedAttribute[Any]]
"""Attributes of a mapped class: `Item.name`, or several of them."""


def names_of(attributes: Attributes) -> tuple[str, ...]:
    """Return the names of *attributes*, one or several.

    Raises:
        TypeError: One is text.
    """
    several = cast("Sequence[Any]", attributes if isinstance(attributes, Sequence) else (attributes,))
    if isinstance(attributes, str) or any(isinstance(attribute, str) for attribute in several):
        raise TypeError("on= and update= take attributes such as Item.name, not text")
    return tuple(attribute.key for attribute in several)


@dataclass(frozen=True)
class Upsert:
    """Upserts into the table of one mapped class. Lives as long as one call.

    Attributes:
        session: The session to write in.
        mapper: The mapper of the mapped class.
        on: The names of the attributes that make the key.
        update: The names of the attributes to change if the row exists; None for all that a row sets.
    """

    session: AsyncSession
    mapper: Mapper[Any]
    on: tuple[str, ...]
    update: tuple[str, ...] | None

    @classmethod
    def of(cls, session: AsyncSession, mapper: Mapper[Any], on: Attributes | None, update: Attributes | None) -> Upsert:
        """Return the upsert by the key *on*, by default the primary key.

        Raises:
            TypeError: The entities are in several tables, or *on* is no unique key of theirs.
        """
        if not isinstance(mapper.local_table, Table) or mapper.inherits is not None:
            raise TypeError(f"{mapper.class_.__name__} is stored in several tables, which one upsert cannot write")
        names = _primary_key(mapper) if on is None else names_of(on)
        if frozenset(names) not in _unique_keys(mapper):
            keys = " or ".join(f"({', '.join(sorted(key))})" for key in _unique_keys(mapper))
            raise TypeError(f"on= is a unique key of {mapper.class_.__name__}: {keys}")
        return cls(session, mapper, names, None if update is None else names_of(update))

    def has_key(self, row: Mapping[str, Any]) -> bool:
        """Tell whether *row* has a whole key: with None in it, it equals no other row."""
        return all(row.get(name) is not None for name in self.on)

    async def write(self, rows: Sequence[Data]) -> None:
        """Insert *rows*, or change those that exist; the last one of several with the same key counts.

        Raises:
            UnknownFieldError: The mapped class lacks a field of a row.
            InvalidDataError: A value is an expression or a relationship, or the database cannot store it.
            UniqueViolationError: A row that is out of the scopes has the key, or one with another key has a unique value.
            ConflictError: Another constraint is violated.
        """
        batch = self._stored(new_batch_in_scope(active_scopes(self.session.info), self.mapper, rows))
        if not are_plain_values(self.mapper, batch):
            raise InvalidDataError(
                f"an upsert of {self.mapper.class_.__name__} takes plain values of columns, and nothing else"
            )
        keyed, others = self._by_key(batch)
        if others.size:
            await insert_rows(self.session, self.mapper, others)
        if keyed.size:
            await self.session.run_sync(self._execute, keyed)
            await self._check(keyed)

    def _stored(self, batch: Batch) -> Batch:
        """Return the rows as the database keeps them, by whose keys they are found again."""
        forms = stored_forms(self.mapper, self.session.get_bind().dialect)
        cut = {
            name: [form(each) for each in batch.fields[name]] for name, form in forms.items() if name in batch.fields
        }
        return Batch({**batch.fields, **cut}, batch.size) if cut else batch

    def _by_key(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the rows that have a whole key, and the others."""
        if not batch.fields.keys() >= {*self.on}:
            return batch.selected(()), batch
        if all(batch.kinds(name).isdisjoint(NOTHING) for name in self.on):
            return batch, batch.selected(())
        keys = list(zip(*(batch.fields[name] for name in self.on), strict=True))
        has_key = [NOTHING.isdisjoint(map(type, key)) for key in keys]
        rows = range(batch.size)
        return batch.selected([*compress(rows, has_key)]), batch.selected([*compress(rows, map(not_, has_key))])

    @property
    def _database_dialect(self) -> DatabaseDialect:
        return dialect_named(self.session.get_bind().dialect.name)

    def _execute(self, session: Session, batch: Batch) -> None:
        session.flush()  # what the rows refer to may be pending
        connection = session.connection()
        table = cast("Table", self.mapper.local_table)
        columns = columns_by_name(self.mapper)
        by_rule = values_on_update(table, connection)
        scopes = active_scopes(self.session.info).criteria(self.mapper.class_)
        key = [columns[name] for name in self.on]
        for part in self._parts(batch):
            changed = self._changed(frozenset(part.fields))

            def changes(new: object, changed: Sequence[Column[Any]] = changed) -> dict[Column[Any], Any]:
                return _changes(self.mapper, new, changed, by_rule)

            rule = UpsertRule(table, key, changes, and_(*scopes) if scopes else None)
            for rows in alike(self.mapper, part):
                self._database_dialect.writing.upsert_rows(connection, rule, add_defaults(rows, connection))

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield the rows in parts for one statement each: no key occurs twice, and all rows set the same columns."""
        for each in _rounds(batch, self._keys(batch)):
            yield from each.alike()

    def _keys(self, batch: Batch) -> list[tuple[Any, ...]]:
        """Return the keys of the rows as the driver gets them: a column type may write two values as one."""
        dialect = self.session.get_bind().dialect
        given = {name: (columns_by_name(self.mapper)[name].type, batch.fields[name]) for name in self.on}
        try:
            parts = [processed(column_type, values, dialect) for column_type, values in given.values()]
        except Exception:  # noqa: BLE001  # a value that cannot be written, as will be found out when it is
            parts = [batch.fields[name] for name in self.on]
        return list(zip(*parts, strict=True))

    def _changed(self, given: frozenset[str]) -> list[Column[Any]]:
        """Return the columns to change if the row exists."""
        kept = {*self.on, *_primary_key(self.mapper)}
        names = sorted(given - kept) if self.update is None else self.update
        return [columns_by_name(self.mapper)[name] for name in names]

    async def _check(self, batch: Batch) -> None:
        """Raise if a key belongs to a row out of scope, or to none because another unique value was met."""
        scopes = active_scopes(self.session.info)
        others = [key for key in _unique_keys(self.mapper) if key != frozenset(self.on)]
        if not (scopes.concern(self.mapper.class_) or (self._database_dialect.writing.upserts_by_any_key and others)):
            return
        given = zip(*(batch.fields[name] for name in self.on), strict=True)
        keys = list(dict(zip(self._keys(batch), given, strict=True)).values())
        columns = [columns_by_name(self.mapper)[name] for name in self.on]
        found = select(func.count()).select_from(self.mapper).where(self._database_dialect.keys.among(columns, keys))
        if (await self.session.scalar(found.options(*scopes.options())) or 0) < len(keys):
            raise UniqueViolationError(table=columns[0].table.name)


def _rounds(batch: Batch, keys: Sequence[tuple[Any, ...]]) -> Iterator[Batch]:
    """Yield the rows in rounds: no key occurs twice in one, and rows with the same key keep their order."""
    try:
        is_each_another = len({*keys}) == batch.size
    except TypeError:  # a list, as an array has it
        yield from (batch.selected([row]) for row in range(batch.size))
        return
    if is_each_another:
        yield batch
        return
    rounds: dict[int, list[int]] = {}
    written: dict[tuple[Any, ...], int] = {}
    for row, values in enumerate(keys):
        number = written[values] = written.get(values, -1) + 1
        rounds.setdefault(number, []).append(row)
    yield from map(batch.selected, rounds.values())


def _changes(
    mapper: Mapper[Any], new: Any, changed: Iterable[Column[Any]], by_rule: Mapping[Column[Any], Any]
) -> dict[Column[Any], Any]:
    """Return the columns to change, with those that change in every update; nothing if the row sets none."""
    values: dict[Column[Any], Any] = {column: new[column.key] for column in changed}
    if not values:
        return {}
    version = mapper.version_id_col
    counted = {} if version is None else {cast("Column[Any]", version): version + 1}
    return {**by_rule, **values, **counted}


@memoized
def _primary_key(mapper: Mapper[Any]) -> tuple[str, ...]:
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


@memoized
def _unique_keys(mapper: Mapper[Any]) -> Sequence[frozenset[str]]:
    """Return the unique keys that the metadata declares, as sets of attribute names."""
    table = cast("Table", mapper.local_table)
    constraints = [constraint.columns for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    indexes = [index.columns for index in table.indexes if index.unique and not is_partial(index)]
    named = {column.key: name for name, column in columns_by_name(mapper).items()}
    return [
        frozenset(_primary_key(mapper)),
        *sorted((frozenset(named[column.key] for column in key) for key in (*constraints, *indexes)), key=sorted),
    ]


@asynccontextmanager
async def undone_alone(session: AsyncSession) -> AsyncGenerator[None]:
    """Run the block in a savepoint, so that an error in it undoes the block alone."""
    await session.flush()
    nested = await session.run_sync(_begin)
    try:
        yield
    except BaseException:
        await session.run_sync(lambda _: nested.rollback())
        raise
    await session.run_sync(lambda _: nested.commit())


def _begin(session: Session) -> SessionTransaction:
    nested = session.begin_nested()
    session.connection()  # SAVEPOINT is sent now, not before the first statement
    return nested
