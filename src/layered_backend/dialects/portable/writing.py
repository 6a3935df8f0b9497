"""Writing rows in the SQL that every database has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, insert, literal, null, select, update
from sqlalchemy import Sequence as NumberSequence

from layered_backend.dialects.protocols import Writing
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.errors import ConflictError

__all__ = ["PortableWriting", "named_sequence", "qualified_name"]


class PortableWriting(Writing):
    """INSERT as SQLAlchemy sends it; an upsert is an UPDATE, and an INSERT in a savepoint where no row was there."""

    upserts_by_any_key: bool = False
    counts_on_by_row: bool = False

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        connection.execute(insert(rows.table), rows.mappings())

    def upsert_rows(self, connection: Connection, rule: UpsertRule, rows: Rows) -> None:
        for row in rows.mappings():
            if _changed(connection, rule, row):
                continue
            try:
                with connection.begin_nested():
                    connection.execute(insert(rule.table), [row])
            except ConflictError:
                # Either the row was inserted by somebody else meanwhile, or another key than this one is in the way.
                if not _changed(connection, rule, row):
                    raise

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        for table in reversed(tables):
            connection.execute(delete(table))

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:
        """Do nothing: the database counts on from the greatest key."""


def named_sequence(connection: Connection, column: Column[Any]) -> str | None:
    """Return the name, quoted, of the sequence that the definition of *column* draws its values from; None without one."""
    if not connection.dialect.supports_sequences:
        return None
    in_database = getattr(getattr(column.server_default, "arg", None), "sequence", None)  # of `sequence.next_value()`
    for sequence in (column.default, in_database):
        if isinstance(sequence, NumberSequence) and not (sequence.optional and connection.dialect.sequences_optional):
            return qualified_name(connection, sequence)
    return None


def qualified_name(connection: Connection, item: Table | NumberSequence) -> str:
    """Return the name of *item*, quoted, with the schema in which *connection* finds it."""
    preparer = connection.dialect.identifier_preparer
    schema = connection.schema_for_object(item)
    name = preparer.quote(item.name)
    return name if schema is None else f"{preparer.quote_schema(schema)}.{name}"


def _changed(connection: Connection, rule: UpsertRule, row: Mapping[str, Any]) -> bool:
    """Change the row that has the key of *row*, where it meets the condition, and tell whether there is one."""
    new = _NewRow(rule.table, row)
    has_key = and_(*(column == new[column.key] for column in rule.on))
    changes = rule.changes(new)
    if changes:
        condition = has_key if rule.condition is None else and_(has_key, rule.condition)
        if connection.execute(update(rule.table).where(condition).values(dict(changes))).rowcount:
            return True
    return connection.scalar(select(literal(1)).select_from(rule.table).where(has_key)) is not None


class _NewRow:
    """The row that could not be inserted: its values as expressions, by the keys of its columns."""

    def __init__(self, table: Table, values: Mapping[str, Any]) -> None:
        self._table, self._values = table, values

    def __getitem__(self, key: str) -> ColumnElement[Any]:
        column = self._table.c[key]
        if key in self._values:
            # Not `column == value`, which is IS NULL for None: NULL is no key.
            value: ColumnElement[Any] = literal(self._values[key], column.type)
            return value
        default: Any = column.default
        expression: ColumnElement[Any] = default.arg if default is not None and default.is_clause_element else null()
        return expression
