"""How SQLite writes rows, and waits for other writers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import insert

from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.portable import PortableLocks
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.dialects.standard import TupleWriting
from layered_backend.dialects.tuples import upsert_each, upserted_as_tuples

__all__ = ["SQLiteLocks", "SQLiteWriting"]


class SQLiteWriting(TupleWriting):
    """Upserts by ON CONFLICT."""

    def upsert_rows(self, connection: Connection, rule: UpsertRule, rows: Rows) -> None:
        statement = on_conflict(insert(rule.table), rule)
        if rows.size == 1 or not upserted_as_tuples(connection, statement, rows):
            upsert_each(connection, statement, rows)

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")  # until the end of the transaction
        super().empty(connection, tables)


class SQLiteLocks(PortableLocks):
    """The write lock is the only one."""

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Do nothing: the transaction took the database's write lock when it began, and waited for the busy timeout."""
