"""PostgreSQL 12 and newer, through asyncpg or psycopg."""

from __future__ import annotations

from layered_backend.dialects.dialect import DatabaseDialect
from layered_backend.dialects.postgresql.connections import PostgreSQLConnections, PostgreSQLTransactions
from layered_backend.dialects.postgresql.errors import PostgreSQLErrors
from layered_backend.dialects.postgresql.locks import PostgreSQLLocks
from layered_backend.dialects.postgresql.migrations import PostgreSQLMigrations
from layered_backend.dialects.postgresql.ordering import PostgreSQLKeys, PostgreSQLOrdering, PostgreSQLValues
from layered_backend.dialects.postgresql.writing import PostgreSQLWriting

__all__ = ["DIALECT"]

DIALECT = DatabaseDialect(
    connections=PostgreSQLConnections(),
    transactions=PostgreSQLTransactions(),
    errors=PostgreSQLErrors(),
    writing=PostgreSQLWriting(),
    keys=PostgreSQLKeys(),
    ordering=PostgreSQLOrdering(),
    locks=PostgreSQLLocks(),
    values=PostgreSQLValues(),
    migrations=PostgreSQLMigrations(),
)
