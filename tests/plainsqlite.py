"""A database that this library does not ship: SQLite, under a name of its own, and with what a minimal dialect says of it.

SQLAlchemy calls it `plainsqlite`, so nothing that is said of `sqlite` anywhere reaches it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Float, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from layered_backend import errors
from layered_backend.dialects import (
    DatabaseDialect,
    PortableConnections,
    PortableErrors,
    PortableTransactions,
    PortableValues,
    Reading,
    register_dialect,
)

NAME = "plainsqlite"


class PlainPysqlite(SQLiteDialect_pysqlite):
    name = NAME
    supports_statement_cache = True


class PlainAiosqlite(SQLiteDialect_aiosqlite):
    name = NAME
    supports_statement_cache = True


class PlainConnections(PortableConnections):
    async_driver = "aiosqlite"
    sync_driver = "pysqlite"
    async_only = frozenset({"aiosqlite"})
    requirement = "layered-backend[sqlite]"

    def engine_options(self, url: Any, *, asynchronous: bool) -> dict[str, Any]:
        return {"connect_args": {"isolation_level": None, "timeout": 10}}

    def configure(self, engine: Engine) -> None:
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)


class PlainTransactions(PortableTransactions):
    has_one_writer = True


class PlainErrors(PortableErrors):
    """Reads what Python's sqlite3 tells, and the columns from SQLite's message."""

    def read(self, error: BaseException) -> Reading | None:
        kind = _KINDS.get(getattr(error, "sqlite_errorname", ""))
        if kind is None:
            is_value = isinstance(error, sqlite3.Error) and "binding parameter" in str(error)
            return Reading(errors.InvalidDataError) if is_value else super().read(error)
        _, _, subject = str(error).partition("failed: ")
        names = [name.partition(".") for name in subject.split(", ")]
        if not all(dot for _, dot, _ in names):
            return Reading(kind, constraint=subject if subject.isidentifier() else None)
        return Reading(kind, table=names[0][0], columns=tuple(column for _, _, column in names))


_KINDS: Mapping[str, type[errors.LayeredError]] = {
    "SQLITE_CONSTRAINT_UNIQUE": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_PRIMARYKEY": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_FOREIGNKEY": errors.ForeignKeyViolationError,
    "SQLITE_CONSTRAINT_NOTNULL": errors.NotNullViolationError,
    "SQLITE_CONSTRAINT_CHECK": errors.CheckViolationError,
    "SQLITE_BUSY": errors.LockTimeoutError,
}


class PlainValues(PortableValues):
    decimal_type = Float()


DIALECT = DatabaseDialect(
    connections=PlainConnections(), transactions=PlainTransactions(), errors=PlainErrors(), values=PlainValues()
)


def _set_up(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA case_sensitive_like = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


registry.register(f"{NAME}.pysqlite", __name__, "PlainPysqlite")
registry.register(f"{NAME}.aiosqlite", __name__, "PlainAiosqlite")
register_dialect(NAME, DIALECT)
