"""Column defaults: values that rows get in Python if they do not set a column."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Column, Connection, Table

from layered_backend.dialects import Rows
from layered_backend.stamps import READS, StatementContext
from layered_backend.upstream.sqlalchemy.schema import takes_no_context

__all__ = ["add_defaults", "has_default", "values_on_update"]


def add_defaults(rows: Rows, connection: Connection) -> Rows:
    """Return *rows* with their defaults, or unchanged if a default needs the context of its own statement."""
    given = {*rows.columns}
    defaults: dict[Column[Any], Any] = {
        column: column.default
        for column in rows.table.columns
        if column not in given
        and column.default is not None
        and (column.default.is_scalar or column.default.is_callable)
    }
    if not all(
        default.is_scalar or default.arg in READS or takes_no_context(default.arg) for default in defaults.values()
    ):
        return rows
    for column, default in defaults.items():
        rows = _with_default(rows, column, default, connection)
    return rows


def _with_default(rows: Rows, column: Column[Any], default: Any, connection: Connection) -> Rows:
    if default.is_scalar:
        return replace(rows, constants={**rows.constants, column: default.arg})
    if default.arg not in READS:
        return replace(rows, values={**rows.values, column: [default.arg(None) for _ in range(rows.size)]})
    read = READS[default.arg]
    constants = {each.key: value for each, value in rows.constants.items() if each.key in read}
    varying = {each.key: values for each, values in rows.values.items() if each.key in read}
    if not varying:
        return replace(rows, constants={**rows.constants, column: default.arg(StatementContext(connection, constants))})
    each_row = (constants | dict(zip(varying, row, strict=True)) for row in zip(*varying.values(), strict=True))
    computed = [default.arg(StatementContext(connection, parameters)) for parameters in each_row]
    return replace(rows, values={**rows.values, column: computed})


def has_default(column: Column[Any]) -> bool:
    """Tell whether None stands for the default of the column, as it does for entities."""
    if column.type.should_evaluate_none:  # None is a value, JSON's own
        return False
    return column.default is not None or column.server_default is not None or column.primary_key


def values_on_update(table: Table, connection: Connection) -> dict[Column[Any], Any]:
    """Return the values that columns get in an update that does not set them (`onupdate`)."""
    with_rule = {column: cast("Any", column.onupdate) for column in table.columns if column.onupdate is not None}
    context = StatementContext(connection)
    return {
        column: rule.arg(context) if rule.is_callable else rule.arg
        for column, rule in with_rule.items()
        if not rule.is_sequence
    }
