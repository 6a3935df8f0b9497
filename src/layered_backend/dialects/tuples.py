"""Rows as the driver takes them: SQLAlchemy's own way costs more for each row than the driver and the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, cast

from sqlalchemy import Column, Connection, Dialect, Insert, Table, insert
from sqlalchemy.sql.compiler import SQLCompiler

from layered_backend.dialects.rows import ROWS, Rows, processed
from layered_backend.upstream.sqlalchemy.connection import has_listeners

__all__ = ["inserted_as_tuples", "upsert_each", "upserted_as_tuples"]


def inserted_as_tuples(connection: Connection, rows: Rows) -> bool:
    """Insert *rows*, and tell whether that could be done."""
    if not _is_possible(connection, rows):
        return False
    return _executed(connection, _compiled_insert(rows.table, rows.columns, connection.dialect), rows)


def upserted_as_tuples(connection: Connection, statement: Insert, rows: Rows) -> bool:
    """Execute *statement* once for each of *rows*, and tell whether that could be done."""
    if not _is_possible(connection, rows):
        return False
    return _executed(connection, _compiled(statement, rows.columns, connection.dialect), rows)


def upsert_each(connection: Connection, statement: Insert, rows: Rows) -> None:
    """Execute *statement* once for each of *rows* in SQLAlchemy's own way, which has its say for each of them."""
    mappings = rows.mappings()
    if rows.size > 1 and _compiled(statement, rows.columns, connection.dialect).post_compile_params:
        for row in mappings:  # a scope's criterion is IN, which is written out for one row at a time only
            connection.execute(statement, row)
    else:
        connection.execute(statement, mappings)


def _is_possible(connection: Connection, rows: Rows) -> bool:
    """Tell whether nothing else has a say in the statement: a default, an event, a schema that stands in for another."""
    is_listened_to = has_listeners(connection, "before_execute", "after_execute")
    options = connection.get_execution_options()
    return rows.is_complete and not is_listened_to and not options.get("schema_translate_map")


@lru_cache(maxsize=500)  # statements, as many as SQLAlchemy remembers for an engine
def _compiled_insert(table: Table, columns: Sequence[Column[Any]], dialect: Dialect) -> SQLCompiler:
    return _compiled(insert(table), columns, dialect)


def _compiled(statement: Insert, columns: Sequence[Column[Any]], dialect: Dialect) -> SQLCompiler:
    keys = [column.key for column in columns]
    return statement.compile(dialect=dialect, column_keys=keys, for_executemany=True)


def _executed(connection: Connection, compiled: SQLCompiler, rows: Rows) -> bool:
    if not compiled.positiontup or compiled.post_compile_params or compiled.literal_execute_params:
        return False
    try:
        parameters = _parameters(compiled, rows, connection.dialect)
    except Exception:  # noqa: BLE001  # a column type refuses a value; in SQLAlchemy's own way it does so with all events
        return False
    connection.exec_driver_sql(compiled.string, parameters, execution_options={ROWS: rows})
    return True


def _parameters(compiled: SQLCompiler, rows: Rows, dialect: Dialect) -> list[tuple[Any, ...]]:
    """Return the values for the driver, each row in the order of the statement's parameters."""
    values = {column.key: given for column, given in rows.values.items()}
    constants = {column.key: value for column, value in rows.constants.items()}
    others = compiled.construct_params({**dict.fromkeys(values), **constants}, escape_names=False)

    def column(name: str) -> Iterable[Any]:
        column_type = compiled.binds[name].type
        if name in values:
            return processed(column_type, values[name], dialect)
        return repeat(processed(column_type, [others[name]], dialect)[0], rows.size)

    return list(zip(*map(column, cast("Sequence[str]", compiled.positiontup)), strict=True))
