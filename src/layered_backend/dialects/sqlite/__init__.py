"""SQLite 3.35 and newer, through aiosqlite or the standard library's sqlite3."""

from __future__ import annotations

from layered_backend.dialects.dialect import DatabaseDialect
from layered_backend.dialects.sqlite.connections import SQLiteConnections, SQLiteTransactions
from layered_backend.dialects.sqlite.errors import SQLiteErrors
from layered_backend.dialects.sqlite.migrations import SQLiteMigrations
from layered_backend.dialects.sqlite.ordering import SQLiteKeys, SQLiteOrdering, SQLiteValues
from layered_backend.dialects.sqlite.writing import SQLiteLocks, SQLiteWriting

__all__ = ["DIALECT"]

DIALECT = DatabaseDialect(
    connections=SQLiteConnections(),
    transactions=SQLiteTransactions(),
    errors=SQLiteErrors(),
    writing=SQLiteWriting(),
    keys=SQLiteKeys(),
    ordering=SQLiteOrdering(),
    locks=SQLiteLocks(),
    values=SQLiteValues(),
    migrations=SQLiteMigrations(),
)
