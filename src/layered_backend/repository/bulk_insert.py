"""Bulk inserts: one statement for all rows that set the same columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Column, Connection, Table
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session

from layered_backend.batch import LEFT_OUT, MISSING, NOTHING, Batch
from layered_backend.dialects import Rows, dialect_named
from layered_backend.repository.bulk_rows import numbered
from layered_backend.repository.column_defaults import add_defaults, has_default
from layered_backend.repository.row_writes import make_entity
from layered_backend.repository.write_gate import Verb, plan_write, table_columns

__all__ = ["alike", "insert_as_given", "insert_rows"]


async def insert_rows(session: AsyncSession, mapper: Mapper[Any], batch: Batch) -> None:
    """Insert the rows of *batch*, by attribute name.

    Raises:
        InvalidDataError: The database cannot store a value.
        ConflictError: A unique constraint or a foreign key is violated.
    """
    with numbered(mapper, batch, session.get_bind().dialect):
        if plan_write(session.sync_session, mapper, Verb.INSERT, batch) is not None:
            await session.run_sync(_insert, mapper, batch)
            return
        entities = [make_entity(mapper, row) for row in batch.rows()]
        session.add_all(entities)
        await session.flush()
    for entity in entities:
        session.expunge(entity)


def _insert(session: Session, mapper: Mapper[Any], batch: Batch) -> None:
    session.flush()  # what the rows refer to may be pending
    connection = session.connection()
    for rows in alike(mapper, batch):
        _insert_rows(connection, rows)


def insert_as_given(session: Session, mapper: Mapper[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows*, by attribute name, in which None is NULL, and only what is left out has a default.

    Raises:
        InvalidDataError: The database cannot store a value.
        ConflictError: A unique constraint or a foreign key is violated.
    """
    session.flush()  # what the rows refer to may be pending
    connection = session.connection()
    for part in Batch.of(rows).alike():
        _insert_rows(connection, _by_column(mapper, part))


def _insert_rows(connection: Connection, rows: Rows) -> None:
    dialect_named(connection.dialect.name).writing.insert_rows(connection, add_defaults(rows, connection))


def alike(mapper: Mapper[Any], batch: Batch, *, in_order: bool = False) -> Iterator[Rows]:
    """Yield the rows of *batch* by column instead, in parts that set the same columns.

    As with entities, None in a column with a default becomes the default, an omitted column without a default is NULL,
    and the mapper counts versions. So only columns with a default divide the rows into parts.
    """
    columns = table_columns(mapper)
    absent = {name: _as_good_as_none(columns[name]) for name in batch.fields}
    for part in batch.parted(absent, in_order=in_order):
        yield _by_column(mapper, part)


def _by_column(mapper: Mapper[Any], batch: Batch) -> Rows:
    columns = table_columns(mapper)
    values = {columns[name]: _or_null(batch, name) for name in batch.fields}
    version: Any = mapper.version_id_col
    if callable(mapper.version_id_generator) and version is not None:  # whatever the rows set themselves
        values[version] = [mapper.version_id_generator(None) for _ in range(batch.size)]
    return Rows(cast("Table", mapper.local_table), batch.size, values)


def _as_good_as_none(column: Column[Any]) -> frozenset[type]:
    """Return the types of the values for which *column* takes its default."""
    if column.type.should_evaluate_none:  # None is a value, JSON's own
        return LEFT_OUT
    return NOTHING if has_default(column) else frozenset()


def _or_null(batch: Batch, name: str) -> Sequence[Any]:
    values = batch.fields[name]
    if batch.kinds(name).isdisjoint(LEFT_OUT):
        return values
    return [None if value is MISSING else value for value in values]
