"""What new rows get where they set nothing: the defaults that are computed in Python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Connection

from layered_backend.dialects import Rows
from layered_backend.models import READS
from layered_backend.repository.direct import StatementContext
from layered_backend.upstream.sqlalchemy.schema import takes_no_context

__all__ = ["with_defaults"]


def with_defaults(rows: Rows, connection: Connection) -> Rows:
    """Return *rows* with their defaults; without any where a function asks for the context of its own statement."""
    given = {*rows.columns}
    defaults: dict[Column[Any], Any] = {
        column: column.default
        for column in rows.table.columns
        if column not in given
        and column.default is not None
        and (column.default.is_scalar or column.default.is_callable)
    }
    if not all(default.is_scalar or _is_known(default.arg) for default in defaults.values()):
        return rows
    for column, default in defaults.items():
        rows = _with_default(rows, column, default, connection)
    return rows


def _is_known(function: Any) -> bool:
    return function in READS or takes_no_context(function)


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
