"""Which foreign key is violated: SQLite itself names none."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, ForeignKeyConstraint, Table, Update, literal, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.sql.expression import UpdateBase

from layered_backend import errors
from layered_backend.dialects.constraints import statement_table
from layered_backend.dialects.reading import Reading
from layered_backend.dialects.rows import ROWS, Rows

__all__ = ["column_keys", "deferred_violation", "refuse_unmet", "violated_key"]

_NO_ACTION = {None, "NO ACTION", "RESTRICT"}


def deferred_violation(connection: Connection, table: Table | None = None) -> Reading | None:
    """Return the first foreign key that is not met, of *table* or of any, while the transaction is still open."""
    of_table = "" if table is None else f"({_quoted(connection, table.name)})"
    violation = _query(connection, f"PRAGMA foreign_key_check{of_table}")
    if not violation:
        return None
    name, _, _, key_id = violation[0]
    keys = _query(connection, f"PRAGMA foreign_key_list({_quoted(connection, name)})")
    columns = tuple(local for id_, _, _, local, *_ in sorted(keys, key=lambda key: key[1]) if id_ == key_id)
    ((ddl,),) = _query(connection, "SELECT sql FROM sqlite_master WHERE name = ?", (name,))
    column_list = r"\s*,\s*".join(f'"?{re.escape(column)}"?' for column in columns)
    named = re.search(rf"CONSTRAINT\s+(\S+)\s+FOREIGN KEY\s*\(\s*{column_list}\s*\)", ddl)
    return Reading(errors.ForeignKeyViolationError, named[1].strip('"') if named else None, name, columns)


def refuse_unmet(connection: object) -> None:
    """Raise what COMMIT would on *connection*, the driver's, where a foreign key can be deferred and is not met."""
    can_be_deferred = _answers(connection, "SELECT 1 FROM sqlite_master WHERE sql LIKE '%DEFERR%' LIMIT 1")
    are_deferred = _answers(connection, "PRAGMA defer_foreign_keys") == [(1,)]
    if (can_be_deferred or are_deferred) and _answers(connection, "PRAGMA foreign_key_check"):
        error = sqlite3.IntegrityError("FOREIGN KEY constraint failed")
        error.sqlite_errorname = "SQLITE_CONSTRAINT_FOREIGNKEY"
        raise error


def _query(connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    return _answers(connection.connection, sql, parameters)


def _answers(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


def violated_key(context: ExceptionContext) -> ForeignKeyConstraint | None:
    """Return the foreign key that the statement of *context* has violated, where the database's rows tell."""
    table = statement_table(context)
    if table is None:
        return None
    execution: Any = context.execution_context
    rows: Rows | None = execution.execution_options.get(ROWS)
    statement = execution.compiled.statement if rows is None else insert(table)
    candidates = [] if statement.is_delete else sorted(table.foreign_key_constraints, key=column_keys)
    referring = _keys_referring_to(table) if statement.is_delete or isinstance(statement, Update) else []
    if len(candidates) + len(referring) == 1:
        return (candidates + referring)[0]
    for parameters in execution.compiled_parameters if rows is None else rows.mappings():
        for key in candidates:
            if _points_to_nothing(context, key, parameters):
                return key
        for key in referring:
            if _is_referred_to(context, key, statement, parameters):
                return key
    return None


def column_keys(key: ForeignKeyConstraint) -> tuple[str, ...]:
    """Return the names of the columns that refer to others."""
    return tuple(key.column_keys)


def _keys_referring_to(table: Table) -> list[ForeignKeyConstraint]:
    return [
        key
        for other in table.metadata.sorted_tables
        for key in sorted(other.foreign_key_constraints, key=column_keys)
        if key.referred_table is table and key.ondelete in _NO_ACTION
    ]


def _points_to_nothing(context: ExceptionContext, key: ForeignKeyConstraint, parameters: Mapping[str, Any]) -> bool:
    values = {element.column: parameters.get(element.parent.key) for element in key.elements}
    if any(value is None for value in values.values()):
        return False  # NULL refers to nothing and is allowed to
    found = select(literal(1)).select_from(key.referred_table).where(*(c == value for c, value in values.items()))
    return _is_empty(context, found)


def _is_referred_to(
    context: ExceptionContext, key: ForeignKeyConstraint, statement: UpdateBase, parameters: Mapping[str, Any]
) -> bool:
    where: Any = getattr(statement, "whereclause", None)
    child = key.table.alias()
    joined = child.join(key.referred_table, _all(child.c[e.parent.key] == e.column for e in key.elements))
    found = select(literal(1)).select_from(joined)
    return not _is_empty(context, found if where is None else found.where(where), parameters)


def _all(conditions: Iterator[Any]) -> Any:
    first = next(conditions)
    for condition in conditions:
        first = first & condition
    return first


def _is_empty(context: ExceptionContext, statement: Any, parameters: Mapping[str, Any] | None = None) -> bool:
    assert context.connection is not None
    return context.connection.execute(statement.limit(1), parameters or {}).first() is None
