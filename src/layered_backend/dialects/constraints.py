"""From what a driver tells of a violated constraint to the names of the metadata."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Constraint,
    Dialect,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IdentifierError

from layered_backend import errors
from layered_backend.dialects.reading import Reading
from layered_backend.dialects.rows import ROWS, Rows

__all__ = ["completed", "statement_table"]

_PRIMARY = "PRIMARY"  # MySQL's and MariaDB's name of every primary key

_KINDS: dict[type[errors.LayeredError], tuple[type[Constraint | Index], ...]] = {
    errors.UniqueViolationError: (PrimaryKeyConstraint, UniqueConstraint, Index),
    errors.ForeignKeyViolationError: (ForeignKeyConstraint,),
    errors.CheckViolationError: (CheckConstraint,),
}


def statement_table(context: ExceptionContext) -> Table | None:
    """Return the table that the failed statement writes, or None for text and for COMMIT."""
    execution: Any = context.execution_context
    compiled = getattr(execution, "compiled", None)
    rows: Rows | None = execution.execution_options.get(ROWS) if execution is not None else None
    table: Table | None = rows.table if rows else getattr(getattr(compiled, "statement", None), "table", None)
    # A statement of the ORM holds an annotated copy of the table.
    return table.metadata.tables.get(table.key, table) if isinstance(table, Table) else None


def completed(reading: Reading, written: Table | None, dialect: Dialect) -> Reading:
    """Return *reading* with what the metadata of the *written* table adds: each fact that one driver tells, all give."""
    if written is None or reading.error not in _KINDS:
        return _with_table(reading, written)
    table = written.metadata.tables.get(_table_key(reading.table, written), written)
    for constraint in _constraints(table, _KINDS[reading.error]):
        columns = _columns(constraint)
        if _has_name(constraint, reading.constraint, dialect) or (
            reading.constraint is None and set(columns) == set(reading.columns)
        ):
            name = _name(constraint) or reading.constraint
            return replace(reading, constraint=name, table=table.name, columns=columns)
    return _with_table(reading, table)


def _with_table(reading: Reading, table: Table | None) -> Reading:
    if reading.table or table is None:
        return reading
    return replace(reading, table=table.name)


def _table_key(name: str | None, written: Table) -> str:
    if name is None or name == written.name:
        return written.key
    return f"{written.schema}.{name}" if written.schema else name


def _constraints(table: Table, kinds: tuple[type[Constraint | Index], ...]) -> list[Constraint | Index]:
    unique_indexes = [index for index in table.indexes if index.unique]
    return [candidate for candidate in (*table.constraints, *unique_indexes) if isinstance(candidate, kinds)]


def _columns(constraint: Constraint | Index) -> tuple[str, ...]:
    if isinstance(constraint, CheckConstraint):
        return _checked_columns(constraint)
    columns: Any = getattr(constraint, "columns", ())
    return tuple(column.name for column in columns)


def _checked_columns(constraint: CheckConstraint) -> tuple[str, ...]:
    """Return the columns that a check mentions, in the order of the table; it is often written as text."""
    words = set(re.findall(r"\w+", str(constraint.sqltext)))
    return tuple(column.name for column in constraint.table.columns if column.name in words)


def _name(constraint: Constraint | Index) -> str | None:
    return str(constraint.name) if isinstance(constraint.name, str) else None


def _has_name(constraint: Constraint | Index, reported: str | None, dialect: Dialect) -> bool:
    """Tell whether the database calls *constraint* *reported*; it shortens names that are too long for it."""
    if reported is None:
        return False
    if isinstance(constraint, PrimaryKeyConstraint) and reported == _PRIMARY:
        return True
    name = _name(constraint)
    if name is None or name == reported:
        return name == reported
    try:
        rendered: object = dialect.identifier_preparer.format_constraint(constraint)
    except IdentifierError:  # a name of the application's own, which the database cuts off
        rendered = name[: dialect.max_identifier_length]
    return str(rendered).strip('"`') == reported
