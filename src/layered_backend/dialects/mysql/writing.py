"""How MariaDB and MySQL write rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Insert, Table, and_, case, text
from sqlalchemy.dialects.mysql import insert

from layered_backend.dialects.portable.writing import named_sequence
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.dialects.standard import TupleWriting

__all__ = ["MySQLWriting"]

_VALUES_OF_STATEMENT = 65_535


class MySQLWriting(TupleWriting):
    """Upserts by ON DUPLICATE KEY UPDATE, which goes by every unique key."""

    upserts_by_any_key = True
    counts_on_by_row = True

    def upsert_rows(self, connection: Connection, rule: UpsertRule, rows: Rows) -> None:
        """Execute it once for as many rows as it takes: the drivers' own way cannot bind values behind the rows."""
        size = max(1, _VALUES_OF_STATEMENT // 2 // len(rows.table.c))  # half of them for what is behind the rows
        statement, mappings = _on_duplicate_key(rule), rows.mappings()
        for start in range(0, rows.size, size):
            connection.execute(statement.values(mappings[start : start + size]))

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:
        """Advance the sequence of *column*, if it has one on MariaDB, which never sets it back; AUTO_INCREMENT needs nothing."""
        sequence = named_sequence(connection, column)
        if sequence is not None:
            connection.execute(text(f"SELECT SETVAL({sequence}, :value)"), {"value": value})  # quoted

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")  # a table that refers to itself is deleted row by row
        try:
            super().empty(connection, tables)
        finally:
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")


def _on_duplicate_key(rule: UpsertRule) -> Insert:
    """Return the statement; a row that has the same value in another unique key than the named one stays as it is."""
    statement = insert(rule.table)
    has_key = and_(
        *(column == statement.inserted[column.key] for column in rule.on),
        *([] if rule.condition is None else [rule.condition]),
    )
    changed: dict[str, ColumnElement[Any]] = {
        column.key: case((has_key, value), else_=column) for column, value in rule.changes(statement.inserted).items()
    }
    return statement.on_duplicate_key_update(changed or {rule.on[0].key: rule.on[0]})
