"""The questions of a migration to MariaDB, about the tables that it compares."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from layered_backend.dialects.portable import PortableMigrations

__all__ = ["MySQLMigrations"]

_DEFAULT = text(
    "SELECT column_default FROM information_schema.columns "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :table AND column_name = :column"
)


class MySQLMigrations(PortableMigrations):
    """Comparisons with what SQLAlchemy does not read."""

    def stored_default(self, connection: Connection | None, schema: str | None, table: str, column: str) -> str | None:
        """Return a default that is an expression: SQLAlchemy reads those of literals."""
        if connection is None:
            return None
        stored: str | None = connection.scalar(_DEFAULT, {"schema": schema, "table": table, "column": column})
        return None if stored == "NULL" else stored

    def same_expressions(
        self, connection: Connection | None, expressions: tuple[str, str], column_type: str, table: str | None
    ) -> bool | None:
        """Have the optimizer write both expressions out, with the names that it has for functions."""
        if connection is None:
            return None
        source = f" FROM {table}" if table else ""
        try:
            first, second = (_written_out(connection, f"SELECT {each} AS written{source}") for each in expressions)
        except DBAPIError:
            return None
        return first == second


def _written_out(connection: Connection, query: str) -> object:
    """Return *query* in the server's own words, which is a warning of EXPLAIN."""
    verbatim = {"no_parameters": True}
    connection.exec_driver_sql(f"EXPLAIN EXTENDED {query}", execution_options=verbatim).close()
    return connection.exec_driver_sql("SHOW WARNINGS", execution_options=verbatim).one()[-1]
