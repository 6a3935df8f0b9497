"""Upserts: a row is inserted, or the row with the same key is changed, also under concurrent writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Any, TypeAlias
from typing import cast as typed

from sqlalchemy import Column, ColumnElement, Dialect, Float, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapper, Session, SessionTransaction

from layered_backend.batch import LEFT_OUT, NOTHING, Batch
from layered_backend.dialects import DatabaseDialect, UpsertRule, dialect_named
from layered_backend.errors import InvalidDataError, UniqueViolationError
from layered_backend.memoization import memoized
from layered_backend.query import Lock
from layered_backend.query.scope import active_scopes
from layered_backend.query.unique_keys import UniqueKey, has_other_keys, unique_keys
from layered_backend.repository.bulk_insert import alike, insert_rows
from layered_backend.repository.bulk_rows import key_values, numbered
from layered_backend.repository.column_defaults import add_defaults, has_default, values_on_update
from layered_backend.repository.refresh import refresh_changed
from layered_backend.repository.row_writes import make_entity, set_values
from layered_backend.repository.write_gate import Verb, WritePlan, is_expression, plan_write
from layered_backend.stamps import StatementContext

__all__ = ["Attributes", "Upsert", "undone_alone"]

Attributes: TypeAlias = InstrumentedAttribute[Any] | Sequence[InstrumentedAttribute[Any]]
"""Attributes of a mapped class: `Item.name`, or several of them."""


def names_of(attributes: Attributes) -> tuple[str, ...]:
    """Return the names of *attributes*, one or several.

    Raises:
        TypeError: One is text.
    """
    several = typed("Sequence[Any]", attributes if isinstance(attributes, Sequence) else (attributes,))
    if isinstance(attributes, str) or any(isinstance(attribute, str) for attribute in several):
        raise TypeError("on= and update= take attributes such as Item.name, not text")
    return tuple(attribute.key for attribute in several)


@dataclass(frozen=True)
class Upsert:
    """Upserts of one mapped class. Lives as long as one call.

    Attributes:
        session: The session to write in.
        mapper: The mapper of the mapped class.
        key: The unique key.
        on: The names of the attributes that make the key.
        update: The names of the attributes to change if the row exists; None for all that a row sets.
    """

    session: AsyncSession
    mapper: Mapper[Any]
    key: UniqueKey
    on: tuple[str, ...]
    update: tuple[str, ...] | None

    @classmethod
    def of(cls, session: AsyncSession, mapper: Mapper[Any], on: Attributes | None, update: Attributes | None) -> Upsert:
        """Return the upsert by the key *on*, by default the primary key.

        Raises:
            TypeError: *on* is no unique key of the mapped class.
        """
        keys = _keys_by_names(mapper)
        names = _primary_key(mapper) if on is None else names_of(on)
        key = keys.get(frozenset(names))
        if key is None:
            listed = " or ".join(f"({', '.join(sorted(each))})" for each in keys)
            raise TypeError(f"on= is a unique key of {mapper.class_.__name__}: {listed}")
        return cls(session, mapper, key, names, None if update is None else names_of(update))

    def has_key(self, row: Mapping[str, Any]) -> bool:
        """Tell whether *row* has a whole key: with None in it, it equals no other row, unless the key is NULLS NOT DISTINCT."""
        if self._takes_nulls_for_equal:
            return row.keys() >= {*self.on}
        return all(row.get(name) is not None for name in self.on)

    def equals(self, row: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        """Return the criteria of the stored row that has the key of *row*."""
        return [self._column(name) == self._stored(name, row[name]) for name in self.on]

    async def write(self, batch: Batch, *, is_read: bool = False) -> None:
        """Insert the rows of *batch*, or change those that exist; the last one of several with the same key counts.

        Args:
            batch: The rows, by attribute name.
            is_read: Whether the caller reads each row by its key, and so finds out by itself whether it was written.

        Raises:
            InvalidDataError: A value is an expression or a relationship, or the database cannot store it.
            UniqueViolationError: A row that is out of the scopes has the key, or one with another key has a unique value.
            ConflictError: Another constraint is violated.
        """
        if not _has_plain_values(self.mapper, batch):
            raise InvalidDataError(
                f"an upsert of {self.mapper.class_.__name__} takes plain values of columns, and nothing else"
            )
        keyed, others = self._by_key(batch)
        if others.size:
            await insert_rows(self.session, self.mapper, others)
        if not keyed.size:
            return
        with numbered(self.mapper, keyed, self._dialect):
            plan = plan_write(self.session.sync_session, self.mapper, Verb.UPSERT, keyed)
            if plan is not None and {*self.key.columns} <= {*plan.columns.values()}:
                await self.session.run_sync(self._execute, plan, keyed)
                if not is_read:
                    await self._check(plan, keyed)
                return
        for each in self._rounds(keyed):
            for number in range(each.size):
                row = each.selected([number])
                with numbered(self.mapper, row, self._dialect):
                    await self._write_entity(row.rows()[0])

    async def _write_entity(self, row: Mapping[str, Any]) -> None:
        """Write one row as the ORM does: change the entity with the key, or add a new one."""
        entity = await self._locked(row)
        if entity is None:
            try:
                async with undone_alone(self.session):
                    self.session.add(make_entity(self.mapper, row))
                    await self.session.flush()
                return
            except UniqueViolationError:
                entity = await self._locked(row)  # somebody else has written it meanwhile
                if entity is None:
                    raise
        changes = {name: row.get(name) for name in self._changed(row)}
        await self.session.run_sync(_change, self.mapper, entity, changes)
        await refresh_changed(self.session, entity, changes)

    async def _locked(self, row: Mapping[str, Any]) -> object | None:
        """Return the entity with the key of *row*, locked until the end of the transaction, or None."""
        await self.session.flush()
        options = active_scopes(self.session.info).options()
        statement = select(self.mapper.class_).where(*self.equals(row)).options(*options)
        return (await self.session.scalars(Lock.update().on(statement, self.mapper.class_))).unique().one_or_none()

    def _by_key(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the rows that have a whole key, and the others."""
        if not batch.fields.keys() >= {*self.on}:
            return batch.selected(()), batch
        absent = LEFT_OUT if self._takes_nulls_for_equal else NOTHING
        if all(batch.kinds(name).isdisjoint(absent) for name in self.on):
            return batch, batch.selected(())
        keys = list(zip(*(batch.fields[name] for name in self.on), strict=True))
        has_key = [absent.isdisjoint(map(type, key)) for key in keys]
        rows = range(batch.size)
        return batch.selected([*compress(rows, has_key)]), batch.selected([*compress(rows, map(not_, has_key))])

    @property
    def _dialect(self) -> Dialect:
        return self.session.get_bind().dialect

    @property
    def _database_dialect(self) -> DatabaseDialect:
        return dialect_named(self._dialect.name)

    @property
    def _takes_nulls_for_equal(self) -> bool:
        return self.key.takes_nulls_for_equal(self._dialect.name)

    def _column(self, name: str) -> ColumnElement[Any]:
        return self.mapper.column_attrs[name].columns[0]

    def _stored(self, name: str, value: Any) -> Any:
        """Return *value*, which the repository has cut as the column keeps it, to compare it with the column."""
        column_type = self._column(name).type
        if value is None or not isinstance(column_type, Float):
            return value
        # A column of 4 bytes is never equal to a number of 8, which drivers send.
        form = self._database_dialect.values.stored_form(column_type, self._dialect)
        return cast(value if form is None else form(value), column_type)

    def _execute(self, session: Session, plan: WritePlan, batch: Batch) -> None:
        session.flush()  # what the rows refer to may be pending
        connection = session.connection()
        by_rule = values_on_update(plan.table, connection)
        scopes = active_scopes(self.session.info).criteria(self.mapper.class_)
        key = [plan.columns[name] for name in self.on]
        for part in self._parts(batch):
            changed = [plan.columns[name] for name in self._changed(part.fields)]

            def changes(new: object, changed: Sequence[Column[Any]] = changed) -> dict[Column[Any], Any]:
                return _changes(plan, new, changed, by_rule)

            rule = UpsertRule(plan.table, key, changes, and_(*scopes) if scopes else None)
            for rows in alike(self.mapper, part, in_order=self._is_in_order):
                self._database_dialect.writing.upsert_rows(connection, rule, add_defaults(rows, connection))

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield the rows in parts for one statement each: no key occurs twice, and all rows set the same columns."""
        for each in self._rounds(batch):
            yield from each.alike(in_order=self._is_in_order)

    @property
    def _is_in_order(self) -> bool:
        """Whether rows are locked in the order of their keys, at the cost of more statements: others write meanwhile."""
        return not self._database_dialect.transactions.has_one_writer

    def _rounds(self, batch: Batch) -> Iterator[Batch]:
        return _rounds(batch, key_values(self.mapper, batch, self.on, self._dialect))

    def _changed(self, given: Collection[str]) -> Sequence[str]:
        """Return the names of the attributes to change if the row exists."""
        kept = {*self.on, *_primary_key(self.mapper)}
        return sorted({*given} - kept) if self.update is None else self.update

    async def _check(self, plan: WritePlan, batch: Batch) -> None:
        """Raise if a key belongs to a row out of scope, or to none because another unique value was met."""
        scopes = active_scopes(self.session.info)
        may_meet_another = self._database_dialect.writing.upserts_by_any_key and has_other_keys(plan.table, self.key)
        if not (scopes.concern(self.mapper.class_) or may_meet_another):
            return
        stored = [[self._stored(name, value) for value in batch.fields[name]] for name in self.on]
        given = zip(*stored, strict=True)
        keys = list(dict(zip(key_values(self.mapper, batch, self.on, self._dialect), given, strict=True)).values())
        columns = [plan.columns[name] for name in self.on]
        has_key = self._among(columns, keys)
        found = select(func.count()).select_from(self.mapper).where(has_key)
        if (await self.session.scalar(found.options(*scopes.options())) or 0) < len(keys):
            raise UniqueViolationError(table=plan.table.name)

    def _among(self, columns: Sequence[Column[Any]], keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
        whole = [key for key in keys if None not in key]
        with_null = [key for key in keys if None in key]
        each = [and_(*(column == value for column, value in zip(columns, key, strict=True))) for key in with_null]
        return or_(*([self._database_dialect.keys.among(columns, whole)] if whole else []), *each)


def _has_plain_values(mapper: Mapper[Any], batch: Batch) -> bool:
    """Tell whether all of *batch* are plain values of columns."""
    columns = mapper.column_attrs
    return all(name in columns and not any(map(is_expression, batch.kinds(name))) for name in batch.fields)


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
    plan: WritePlan, new: Any, changed: Iterable[Column[Any]], by_rule: Mapping[Column[Any], Any]
) -> dict[Column[Any], Any]:
    """Return the columns to change, with those that change in every update; nothing if the row sets none."""
    values: dict[Column[Any], Any] = {column: new[column.key] for column in changed}
    return {**by_rule, **values, **plan.next_version} if values else {}


def _change(session: Session, mapper: Mapper[Any], entity: object, changes: Mapping[str, Any]) -> None:
    """Change the row that exists to what a new row would have: None stands for the default of a column that has one."""
    context = StatementContext(session.connection())
    new: dict[str, Any] = {}
    for name, value in changes.items():
        column = mapper.column_attrs[name].columns[0]
        default: Any = column.default if isinstance(column, Column) and has_default(column) else None
        if value is not None or default is None or default.is_sequence:
            new[name] = value
        else:
            new[name] = default.arg(context) if default.is_callable else default.arg
    set_values(entity, new)
    session.flush()


@memoized
def _primary_key(mapper: Mapper[Any]) -> tuple[str, ...]:
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


@memoized
def _keys_by_names(mapper: Mapper[Any]) -> Mapping[frozenset[str], UniqueKey]:
    """Return the unique keys of the mapped class by the names of their attributes, the primary key first."""
    names = {column: attribute.key for attribute in mapper.column_attrs for column in attribute.columns}
    named = [(frozenset(names[column] for column in key.columns), key) for key in unique_keys(mapper)]
    primary = frozenset(_primary_key(mapper))
    return dict(sorted(named, key=lambda each: (each[0] != primary, sorted(each[0]))))


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
