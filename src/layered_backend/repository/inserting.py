"""Inserting many rows: one statement for all that set the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session

from layered_backend.repository.direct import columns_by_name, inserts_directly, is_direct_row

__all__ = ["alike", "insert_rows"]


async def insert_rows(session: AsyncSession, mapper: Mapper[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows*, each by attribute name.

    Raises:
        InvalidDataError: The database cannot store a value.
        ConflictError: A unique constraint or a foreign key is violated.
    """
    if inserts_directly(mapper, session.sync_session) and all(is_direct_row(mapper, row) for row in rows):
        await session.run_sync(_insert, mapper, rows)
        return
    entities = [mapper.class_(**row) for row in rows]
    session.add_all(entities)
    await session.flush()
    for entity in entities:
        session.expunge(entity)


def _insert(session: Session, mapper: Mapper[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    session.flush()  # what the rows refer to may be pending
    connection = session.connection()
    table: Any = mapper.local_table
    for parameters in alike(mapper, rows):
        connection.execute(table.insert(), parameters)


def alike(mapper: Mapper[Any], rows: Sequence[Mapping[str, Any]]) -> Sequence[list[dict[str, Any]]]:
    """Return *rows* by column key instead, grouped by the columns that they set.

    As SQLAlchemy has it for entities, None for a column with a default takes the default, and what is left out is NULL
    where there is none. So rows differ, and make another group, only in what has a default.
    """
    columns = columns_by_name(mapper)
    given = {name for row in rows for name in row}
    without_default = {columns[name].key: None for name in sorted(given) if not _has_default(columns[name])}
    groups: dict[frozenset[str], list[dict[str, Any]]] = {}
    for row in rows:
        values = {columns[name].key: value for name, value in row.items() if value is not None}
        parameters = without_default | values
        groups.setdefault(frozenset(parameters), []).append(parameters)
    return list(groups.values())


def _has_default(column: Column[Any]) -> bool:
    return column.default is not None or column.server_default is not None or column.primary_key
