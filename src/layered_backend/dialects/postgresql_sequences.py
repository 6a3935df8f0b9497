"""The sequences that PostgreSQL counts keys up with, and that explicit keys pass by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Sequence, func, select, text

__all__ = ["advance"]

_SHORT_WAY = 1000  # numbers


def advance(connection: Connection, column: Column[Any], value: int) -> None:
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
    if isinstance(column.default, Sequence):
        return preparer.format_sequence(column.default)
    owned = select(func.pg_get_serial_sequence(preparer.format_table(column.table), column.name))
    name: str | None = connection.scalar(owned)
    return name


def _last_number(connection: Connection, sequence: str) -> int:
    """Return the number that was drawn last, or that before the first."""
    state = text(f"SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {sequence}")  # noqa: S608  # quoted
    return int(connection.scalar(state) or 0)
