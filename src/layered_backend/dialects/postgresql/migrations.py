"""The questions of a migration to PostgreSQL, about the tables that it compares."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from layered_backend.dialects.portable import PortableMigrations

__all__ = ["PostgreSQLMigrations"]

_DESCENDANTS = """
SELECT child_schema.nspname, child.relname
FROM pg_catalog.pg_inherits
JOIN pg_catalog.pg_class child ON child.oid = inhrelid
JOIN pg_catalog.pg_namespace child_schema ON child_schema.oid = child.relnamespace
"""


class PostgreSQLMigrations(PortableMigrations):
    """Comparisons that the server makes itself."""

    def same_expressions(
        self, connection: Connection | None, expressions: tuple[str, str], column_type: str, table: str | None
    ) -> bool | None:
        """Have the planner write both expressions out, with casts, parentheses and constants as it would store them.

        EXPLAIN runs neither of them, so no function of a default has an effect.
        """
        if connection is None:
            return None
        columns = ", ".join(f"CAST(({each}) AS {column_type})" for each in expressions)
        source = f" FROM {table}" if table else ""
        statement = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT {columns}{source}"
        try:
            with connection.begin_nested():
                ((plan,),) = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        except DBAPIError:
            return False  # one of them cannot be planned: it is of another type, or uses a column that does not exist
        first, second = plan[0]["Plan"]["Output"]
        return bool(first == second)

    def descendants(self, connection: Connection) -> Collection[tuple[str | None, str]]:
        """Return the partitions and the tables that inherit from another one."""
        return {(schema, name) for schema, name in connection.exec_driver_sql(_DESCENDANTS)}
