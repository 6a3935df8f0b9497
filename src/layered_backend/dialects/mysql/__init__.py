"""MariaDB 10.5 and newer, through asyncmy or PyMySQL; MySQL 8 speaks the same protocol and is not tested."""

from __future__ import annotations

from layered_backend.dialects.dialect import DatabaseDialect
from layered_backend.dialects.mysql.connections import MySQLConnections, MySQLTransactions
from layered_backend.dialects.mysql.errors import MySQLErrors
from layered_backend.dialects.mysql.locks import MySQLLocks
from layered_backend.dialects.mysql.migrations import MySQLMigrations
from layered_backend.dialects.mysql.ordering import MySQLKeys, MySQLOrdering, MySQLValues
from layered_backend.dialects.mysql.writing import MySQLWriting

__all__ = ["DIALECT"]

DIALECT = DatabaseDialect(
    connections=MySQLConnections(),
    transactions=MySQLTransactions(),
    errors=MySQLErrors(),
    writing=MySQLWriting(),
    keys=MySQLKeys(),
    ordering=MySQLOrdering(),
    locks=MySQLLocks(),
    values=MySQLValues(),
    migrations=MySQLMigrations(),
)
