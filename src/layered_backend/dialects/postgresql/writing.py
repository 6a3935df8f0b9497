"""How PostgreSQL writes rows, and counts keys up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, func, select, text
from sqlalchemy import Sequence as NumberSequence
from sqlalchemy.dialects.postgresql import insert

from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.portable import PortableWriting
from layered_backend.dialects.postgresql.arrays import inserted_from_arrays, upserted_from_arrays
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.dialects.tuples import upsert_each

__all__ = ["PostgreSQLWriting"]

_SHORT_WAY = 1000  # numbers


class PostgreSQLWriting(PortableWriting):
    """Sends many rows as an array for each column, and upserts by ON CONFLICT."""

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        if rows.size == 1 or not inserted_from_arrays(connection, rows):
            super().insert_rows(connection, rows)

    def upsert_rows(self, connection: Connection, rule: UpsertRule, rows: Rows) -> None:
        statement = on_conflict(insert(rule.table), rule)
        if rows.size == 1 or not upserted_from_arrays(connection, statement, rule.on, rows):
            upsert_each(connection, statement, rows)

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        if tables:
            names = map(connection.dialect.identifier_preparer.format_table, tables)
            connection.execute(text(f"TRUNCATE {', '.join(names)}"))

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:
        """Advance the sequence of *column* to *value*, and never set it back.

        Others may be drawing numbers meanwhile. A short way is gone number by number, which cannot go wrong; a long one is
        jumped, and would be set back only if others drew as many numbers between the reading and the setting.
        """
        sequence = _sequence_of(connection, column)
        while sequence is not None and (missing := value - _last_number(connection, sequence)) > 0:
            if missing > _SHORT_WAY:
                connection.execute(
                    text("SELECT setval(CAST(:sequence AS regclass), :value)"), {"sequence": sequence, "value": value}
                )
            else:
                drawn = text(
                    "SELECT count(nextval(CAST(:sequence AS regclass))) FROM generate_series(1, CAST(:missing AS integer))"
                )
                connection.execute(drawn, {"sequence": sequence, "missing": missing})


def _sequence_of(connection: Connection, column: Column[Any]) -> str | None:
    """Return the name of the sequence that *column*'s keys are drawn from, as the server writes it; None without one."""
    preparer = connection.dialect.identifier_preparer
    if isinstance(column.default, NumberSequence):
        return preparer.format_sequence(column.default)
    owned = select(func.pg_get_serial_sequence(preparer.format_table(column.table), column.name))
    name: str | None = connection.scalar(owned)
    return name


def _last_number(connection: Connection, sequence: str) -> int:
    """Return the number that was drawn last, or that before the first."""
    state = text(f"SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {sequence}")  # noqa: S608  # quoted
    return int(connection.scalar(state) or 0)
