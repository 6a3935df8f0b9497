"""How PostgreSQL writes rows, and counts keys up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, text
from sqlalchemy.dialects.postgresql import insert

from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.portable.writing import PortableWriting, named_sequence, qualified_name
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
        sequence = named_sequence(connection, column) or _sequence_in_use(connection, column)
        while sequence is not None:
            last, step = connection.execute(text(_STATE.format(sequence)), {"sequence": sequence}).one()
            missing = -((last - value) // step) if step > 0 else 0  # one that counts down does not meet *value*
            if missing <= 0:
                return
            if missing > _SHORT_WAY:
                connection.execute(
                    text("SELECT setval(CAST(:sequence AS regclass), :value)"), {"sequence": sequence, "value": value}
                )
            else:
                drawn = text(
                    "SELECT count(nextval(CAST(:sequence AS regclass))) FROM generate_series(1, CAST(:missing AS integer))"
                )
                connection.execute(drawn, {"sequence": sequence, "missing": missing})


# The number that was drawn last, or that before the first, and the step from one to the next.
_STATE = """
SELECT last_value - CASE WHEN is_called THEN 0 ELSE seqincrement END, seqincrement
FROM {}, pg_sequence WHERE seqrelid = CAST(:sequence AS regclass)
"""

# The sequence in the column's default, of whatever name it is, else that of an identity column.
_IN_USE = """
SELECT coalesce(
    (SELECT CAST(CAST(sequence.oid AS regclass) AS text)
     FROM pg_attrdef AS given
     JOIN pg_attribute AS attribute ON attribute.attrelid = given.adrelid AND attribute.attnum = given.adnum
     JOIN pg_depend AS used ON used.classid = CAST('pg_attrdef' AS regclass) AND used.objid = given.oid
        AND used.refclassid = CAST('pg_class' AS regclass)
     JOIN pg_class AS sequence ON sequence.oid = used.refobjid AND sequence.relkind = 'S'
     WHERE given.adrelid = CAST(CAST(:table AS text) AS regclass) AND attribute.attname = CAST(:column AS text)
     LIMIT 1),
    pg_get_serial_sequence(CAST(:table AS text), CAST(:column AS text))
)
"""


def _sequence_in_use(connection: Connection, column: Column[Any]) -> str | None:
    """Return the name of the sequence that *column*'s values are drawn from, as the server writes it; None without one."""
    names = {"table": qualified_name(connection, column.table), "column": column.name}
    name: str | None = connection.scalar(text(_IN_USE), names)
    return name
