"""Bulk rows: many rows in the order of their keys, and the number of the row that an error is about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sqlalchemy import Column, Dialect
from sqlalchemy.orm import Mapper

from layered_backend.batch import MISSING, NOTHING, Batch, batched
from layered_backend.dialects import dialect_named
from layered_backend.dialects.rows import processed
from layered_backend.errors import InvalidDataError, LayeredError, NotNullViolationError, UniqueViolationError
from layered_backend.field_values import Data
from layered_backend.memoization import memoized
from layered_backend.query.unique_keys import tables_among

__all__ = ["BATCH_SIZE", "at_index", "batches", "key_values", "numbered"]

BATCH_SIZE = 1_000  # rows, so many of which are in memory at a time

Convert = Callable[[Sequence[Data]], Batch]


async def batches(
    rows: Iterable[Data] | AsyncIterable[Data],
    mapper: Mapper[Any],
    key: Sequence[str],
    convert: Convert,
    dialect: Dialect,
) -> AsyncGenerator[Batch]:
    """Yield *rows* in batches, in the order of their keys: two transactions that write the same keys do not deadlock.

    A sequence, which is in memory already, is put in order as a whole, and another iterable batch by batch. A row that refers
    to another one of the same table comes behind it. Rows with the same key, or without one, keep their order.

    Args:
        rows: Data of the caller.
        mapper: The mapper of the mapped class.
        key: The names of the attributes that make the key.
        convert: Returns the values of some rows.
        dialect: SQLAlchemy's dialect of the database.
    """
    if isinstance(rows, Sequence):
        whole = in_order(mapper, _converted(rows, convert, 0), key, dialect)
        for start in range(0, whole.size, BATCH_SIZE):
            yield whole.sliced(start, start + BATCH_SIZE)
        return
    start = 0
    async for some in batched(rows, BATCH_SIZE):
        yield in_order(mapper, _converted(some, convert, start), key, dialect)
        start += len(some)


def _converted(rows: Sequence[Data], convert: Convert, start: int) -> Batch:
    try:
        batch = convert(rows)
    except LayeredError as error:
        error.index = _index_of_refused(rows, convert, start)
        raise
    return Batch(batch.fields, batch.size, range(start, start + batch.size))


def _index_of_refused(rows: Sequence[Data], convert: Convert, start: int) -> int | None:
    for index, row in enumerate(rows, start):
        try:
            convert([row])
        except LayeredError:
            return index
    return None


def in_order(mapper: Mapper[Any], batch: Batch, key: Sequence[str], dialect: Dialect) -> Batch:
    """Return the rows of *batch* in the order of their keys, each behind those that it refers to."""
    order: Sequence[int] = range(batch.size)
    if batch.fields.keys() >= {*key} and all(batch.kinds(name).isdisjoint(NOTHING) for name in key):
        order = _sorted(key_values(mapper, batch, key, dialect))
    for referring, referred in _own_references(mapper):
        if batch.fields.keys() >= {referring, referred}:
            order = _behind_referred(order, batch.fields[referring], batch.fields[referred])
    return batch if all(map(int.__eq__, order, range(batch.size))) else batch.selected(order)


def key_values(mapper: Mapper[Any], batch: Batch, names: Sequence[str], dialect: Dialect) -> list[tuple[Any, ...]]:
    """Return the keys of the rows as the driver gets them: a column type may write two values as one."""
    given = [(mapper.column_attrs[name].columns[0].type, batch.fields[name]) for name in names]
    try:
        parts = [processed(column_type, values, dialect) for column_type, values in given]
    except Exception:  # noqa: BLE001  # a value that cannot be written, as will be found out when it is
        parts = [values for _, values in given]
    return list(zip(*parts, strict=True))


def _sorted(keys: Sequence[tuple[Any, ...]]) -> Sequence[int]:
    rows = range(len(keys))
    try:
        return sorted(rows, key=keys.__getitem__)
    except TypeError:  # values of several types, or without an order
        return sorted(rows, key=lambda row: [(type(value).__name__, repr(value)) for value in keys[row]])


@memoized
def _own_references(mapper: Mapper[Any]) -> Sequence[tuple[str, str]]:
    """Return the attributes with a foreign key to the same table, each with the attribute that it refers to."""
    names = {column: attribute.key for attribute in mapper.column_attrs for column in attribute.columns}
    keys = (key for table in tables_among(mapper.tables) for key in table.foreign_keys if key.column.table is table)
    return [(names[key.parent], names[key.column]) for key in keys if key.parent in names and key.column in names]


def _behind_referred(order: Sequence[int], referring: Sequence[Any], referred: Sequence[Any]) -> Sequence[int]:
    try:
        rows = {referred[row]: row for row in order}
        sorter = TopologicalSorter({row: [rows[referring[row]]] for row in order if referring[row] in rows})
        before = dict.fromkeys(sorter.static_order())
    except (TypeError, CycleError):  # the database says what it thinks of that
        return order
    return [*before, *(row for row in order if row not in before)]


@contextmanager
def at_index(index: int) -> Generator[None]:
    """Give an error of the block the caller's index of the row that it is about."""
    try:
        yield
    except LayeredError as error:
        error.index = index
        raise


@contextmanager
def numbered(mapper: Mapper[Any], batch: Batch, dialect: Dialect) -> Generator[None]:
    """Give an error of the block the caller's index of the row that it is about, where that can be known."""
    try:
        yield
    except LayeredError as error:
        if error.index is None:
            row = _row_of(error, mapper, batch, dialect)
            error.index = None if row is None else batch.number(row)
        raise


def _row_of(error: LayeredError, mapper: Mapper[Any], batch: Batch, dialect: Dialect) -> int | None:
    """Return the row that *error* is about: of several that are at fault the first, which the database meets first, too."""
    if batch.size == 1:
        return 0
    names = _names_of(mapper, error.columns) if isinstance(error, InvalidDataError | UniqueViolationError) else []
    if isinstance(error, UniqueViolationError):
        return _repeated(batch, names) if names and batch.fields.keys() >= {*names} else None
    if isinstance(error, NotNullViolationError) and names:
        values = [batch.value(names[0], row) for row in range(batch.size)]
        null = next((row for row, value in enumerate(values) if value is None), None)
        return null if null is not None else next((row for row, value in enumerate(values) if value is MISSING), None)
    if isinstance(error, InvalidDataError):
        return min((row for name in batch.fields for row in _refused(mapper, batch, name, dialect)), default=None)
    return None


def _names_of(mapper: Mapper[Any], columns: Sequence[str]) -> list[str]:
    names = {
        column.name: attribute.key
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if isinstance(column, Column)
    }
    return [names[name] for name in columns if name in names]


def _repeated(batch: Batch, names: Sequence[str]) -> int | None:
    """Return the first row whose values an earlier one has; without one, a stored row has the values of some row."""
    seen: set[tuple[Any, ...]] = set()
    for row, values in enumerate(zip(*(batch.fields[name] for name in names), strict=True)):
        try:
            if values in seen:
                return row
            seen.add(values)
        except TypeError:  # a list, as an array has it
            return None
    return None


def _refused(mapper: Mapper[Any], batch: Batch, name: str, dialect: Dialect) -> Iterator[int]:
    """Yield the rows whose value the column's type does not take, or the column cannot hold."""
    if name not in mapper.column_attrs:
        return
    own_type = mapper.column_attrs[name].columns[0].type.dialect_impl(dialect)
    process, holds = own_type.bind_processor(dialect), dialect_named(dialect.name).values.holds
    for row, value in enumerate(batch.fields[name]):
        if type(value) in NOTHING:
            continue
        try:
            if process is not None:
                process(value)
            if not holds(own_type, value):
                yield row
        except Exception:  # noqa: BLE001  # whatever a column type raises
            yield row
