"""Unique keys of a mapped class: sets of columns in which no two of its rows are equal, by its metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.orm import Mapper

from layered_backend.memoization import memoized
from layered_backend.upstream.sqlalchemy.expression import split_sort_modifiers

__all__ = ["UniqueKey", "has_other_keys", "tables_among", "tells_rows_apart", "unique_keys"]


@dataclass(frozen=True)
class UniqueKey:
    """A key that holds at any time, and for all rows. Lives as long as the process.

    Attributes:
        columns: Its columns, in the order of its definition.
        definition: The constraint, or the index.
    """

    columns: tuple[Column[Any], ...]
    definition: UniqueConstraint | PrimaryKeyConstraint | Index

    def takes_nulls_for_equal(self, dialect: str) -> bool:
        """Tell whether there is only one row with NULL in the key (`NULLS NOT DISTINCT`) in a database of *dialect*."""
        return bool(_options(self.definition).get((dialect, "nulls_not_distinct")))


@memoized
def unique_keys(mapper: Mapper[Any]) -> Sequence[UniqueKey]:
    """Return the unique keys of *mapper*'s class: the primary key, then those of its tables, from its own to the root's.

    Of joined tables each has one row for each entity, so that a key of any of them is one of the class. A key with a column
    that the class does not map is none of its own: a sibling in the same table may have it.
    """
    mapped = {column for attribute in mapper.column_attrs for column in attribute.columns}
    tables = tables_among(dict.fromkeys(level.local_table for level in mapper.iterate_to_root()))
    found = [key for table in tables for key in _keys_of(table) if mapped.issuperset(key.columns)]
    own = {*mapper.primary_key}
    return sorted(found, key=lambda key: ({*key.columns} != own, [column.key for column in key.columns]))


def tells_rows_apart(mapper: Mapper[Any], columns: Collection[Column[Any]]) -> bool:
    """Tell whether no two rows of *mapper*'s class are equal in *columns*, none of which is NULL."""
    # By table and name: the columns of a mapped class are not those of its table, but like them.
    named = {(hash(column.table), column.key) for column in columns}
    keys = ([(hash(column.table), column.key) for column in key.columns] for key in unique_keys(mapper))
    return bool(named) and any(named.issuperset(key) for key in keys)


def has_other_keys(table: Table, key: UniqueKey) -> bool:
    """Tell whether *table* may have another unique key, in a database that knows no partial or deferrable ones either."""
    others = (one for one in (*table.constraints, *table.indexes) if one is not key.definition)
    return any(isinstance(one, UniqueConstraint | PrimaryKeyConstraint) or _is_unique(one) for one in others)


def tables_among(selectables: Iterable[Any]) -> Iterator[Table]:
    """Yield the tables among *selectables*; a class may also be mapped to a join, an alias or a subquery."""
    for selectable in selectables:
        if isinstance(selectable, Table):
            yield selectable


def _is_unique(definition: object) -> bool:
    return isinstance(definition, Index) and definition.unique


def _keys_of(table: Table) -> Iterator[UniqueKey]:
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint) and not constraint.deferrable:
            columns = tuple(constraint.columns)
            if columns:
                yield UniqueKey(columns, constraint)
    for index in table.indexes:
        parts = [_column_of(table, part) for part in index.expressions]
        plain = [column for column in parts if column is not None]
        if index.unique and not _is_partial(index) and len(plain) == len(parts):
            yield UniqueKey(tuple(plain), index)


def _column_of(table: Table, part: Any) -> Column[Any] | None:
    """Return the column of *table* that a part of an index is; None for any other expression, such as `lower(name)`."""
    element, _ = split_sort_modifiers(part)
    return table.columns.get(element.key) if isinstance(element, Column) else None


def _is_partial(index: Index) -> bool:
    """Tell whether *index* is of some rows only, or of the beginning of a value."""
    return any(option in {"where", "length"} and value is not None for (_, option), value in _options(index).items())


def _options(definition: UniqueConstraint | PrimaryKeyConstraint | Index) -> dict[tuple[str, str], Any]:
    """Return the options of a definition, by the name of the dialect and that of the option."""
    options: dict[tuple[str, str], Any] = {}
    for name, value in definition.dialect_kwargs.items():
        dialect, _, option = name.partition("_")
        options[dialect, option] = value
    return options
