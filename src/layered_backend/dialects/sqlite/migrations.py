"""Changing a table of SQLite, which copies it: nothing may be lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import CheckConstraint, Connection, Dialect, Table
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.schema import conv

from layered_backend.dialects.portable import PortableMigrations
from layered_backend.errors import MigrationError
from layered_backend.upstream.sqlalchemy.reflection import reflect_by, verify_reflection

__all__ = ["SQLiteMigrations"]


class SQLiteMigrations(PortableMigrations):
    """Migrations by copies, which keep every row's references and every check constraint."""

    alters_by_copy = True
    transactional_ddl: bool | None = True  # Alembic knows only the driver's own BEGIN, which is not used here

    def prepare(self, connection: Connection) -> None:
        """Have *connection* enforce no foreign keys.

        Dropping the table that was copied would delete what refers to it otherwise.
        https://www.sqlite.org/lang_altertable.html#making_other_kinds_of_table_schema_changes
        """
        connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")

    def prepare_dialect(self, dialect: Dialect) -> None:
        """Have every check constraint of a reflected table have a name."""
        verify_reflection()
        reflect_by(_NamingInspector, dialect)

    def same_expressions(
        self, connection: Connection | None, expressions: tuple[str, str], column_type: str, table: str | None
    ) -> bool | None:
        """Return False for what is written in other words: SQLite stores an expression as it was written."""
        return expressions[0] == expressions[1]

    @contextmanager
    def checked(self, connection: Connection) -> Generator[None]:
        """Refuse to go on after the block if it leaves rows that refer to nothing, and that did not before."""
        before = _violations(connection)
        yield
        broken = _violations(connection) - before
        if broken:
            told = ", ".join(f"{rows} of {table} to {referred}" for (table, referred), rows in sorted(broken.items()))
            raise MigrationError(f"rows would be left that refer to nothing: {told}; nothing is changed")


def _violations(connection: Connection) -> Counter[tuple[str, str]]:
    """Return how many rows refer to nothing, by their table and the one that they refer to."""
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return Counter((table, referred) for table, _, referred, _ in rows)


class _NamingInspector(Inspector):
    """Gives names to the check constraints that have none: Alembic copies those with a name."""

    def reflect_table(self, table: Table, *args: Any, **options: Any) -> None:
        super().reflect_table(table, *args, **options)
        checks = [each for each in table.constraints if isinstance(each, CheckConstraint)]
        for position, check in enumerate(sorted(checks, key=lambda check: str(check.sqltext)), start=1):
            check.name = check.name or conv(f"ck_{table.name}_{position}")
