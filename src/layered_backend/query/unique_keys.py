"""Unique keys of a mapped class: sets of columns in which no two of its rows are equal, by its metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Index, Table, UniqueConstraint
from sqlalchemy.orm import Mapper

__all__ = ["is_partial", "tells_rows_apart"]


def tells_rows_apart(mapper: Mapper[Any], columns: Collection[Column[Any]]) -> bool:
    """Tell whether no two rows of *mapper*'s class are equal in *columns*, none of which is NULL."""
    named = {(hash(column.table), column.key) for column in columns}
    return bool(named) and any(named.issuperset(key) for key in _keys(mapper))


def _keys(mapper: Mapper[Any]) -> Iterator[Sequence[tuple[int, str]]]:
    """Yield each key, by table and name: the columns of a mapped class are not those of its table, but like them."""
    for level in mapper.iterate_to_root():  # of joined tables each has one row for each of the class
        table: Any = level.local_table
        if _is_table(table):
            for columns in _columns_of_keys(table):
                yield [(hash(table), column.key) for column in columns]


def _is_table(selectable: object) -> bool:
    return isinstance(selectable, Table)


def _columns_of_keys(table: Table) -> Iterator[Sequence[Column[Any]]]:
    """Yield the columns of each unique key that holds at any time, and for all rows."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and constraint.columns and not constraint.deferrable:
            yield list(constraint.columns)
    for index in table.indexes:
        if index.unique and not is_partial(index) and all(isinstance(part, Column) for part in index.expressions):
            yield list(index.columns)


def is_partial(index: Index) -> bool:
    """Tell whether *index* is of some rows only."""
    return any(options.get("where") is not None for options in index.dialect_options.values())
