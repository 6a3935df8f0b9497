"""New rows of a table, on their way to the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, Table
from sqlalchemy.types import TypeEngine

__all__ = ["ROWS", "Rows", "UpsertRule", "processed"]

ROWS = "layered_backend_rows"
"""The execution option that tells which rows a statement of text writes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """New rows of a table that all set the same columns.

    Attributes:
        table: Where they go.
        size: How many there are.
        values: Of each column, those of the rows in their order.
        constants: Of each column that is the same in all of them, its value.
    """

    table: Table
    size: int
    values: Mapping[Column[Any], Sequence[Any]]
    constants: Mapping[Column[Any], Any] = field(default_factory=dict[Column[Any], Any])

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns that are set."""
        return (*self.values, *self.constants)

    @property
    def is_complete(self) -> bool:
        """Whether no value is left that SQLAlchemy would compute for each row."""
        given = {*self.columns}
        defaults = [column.default for column in self.table.columns if column not in given]
        return not any(default is not None and (default.is_scalar or default.is_callable) for default in defaults)

    def mappings(self) -> list[dict[str, Any]]:
        """Return the rows, each by the keys of its columns."""
        constants = {column.key: value for column, value in self.constants.items()}
        keys = [column.key for column in self.values]
        if not keys:
            return [dict(constants) for _ in range(self.size)]
        return [dict(zip(keys, row, strict=True), **constants) for row in zip(*self.values.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class UpsertRule:
    """How a row is inserted, or the one with the same key changed.

    Attributes:
        table: Where to insert.
        on: The columns of the key.
        changes: From the row that could not be inserted, its values by column key, to what to change; where that is
            nothing, the row with the same key stays as it is.
        condition: What the row with the same key must meet to be changed; None for nothing.
    """

    table: Table
    on: Sequence[Column[Any]]
    changes: Callable[[Any], Mapping[Column[Any], Any]]
    condition: ColumnElement[bool] | None


def processed(column_type: TypeEngine[Any], values: Sequence[Any], dialect: Dialect) -> Sequence[Any]:
    """Return *values* as the driver takes them."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    return values if process is None else list(map(process, values))
