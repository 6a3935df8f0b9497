"""Shipped rows: a batch of a seeder's rows, checked and converted, to be compared with the database at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any, cast

from pydantic import BaseModel

from layered_backend.batch import MISSING
from layered_backend.errors import InvalidDataError, SeedDataError
from layered_backend.field_values import Data, new_values
from layered_backend.seeding.definition import Definition
from layered_backend.seeding.field import BadValueError, Field, unknown_field

__all__ = ["ShippedRows", "check_rows"]

Values = tuple[Any, ...]


@dataclass(frozen=True)
class ShippedRows:
    """Consecutive rows of one seeder, by column, so that many are compared at once.

    Attributes:
        names: The attributes: those of the key, then those that are compared, then those that are set only once.
        compared: How many of the names, from the first, count in the comparison.
        columns: The values of each name, in the order of the rows; `MISSING` where a row leaves it out.
        first: The number of the first row, from 1.
    """

    names: tuple[str, ...]
    compared: int
    columns: Sequence[Sequence[Any]]
    first: int

    @cached_property
    def rows(self) -> Sequence[Values]:
        """The values of each row, in the order of the names."""
        return list(zip(*self.columns, strict=True))

    def leading(self, width: int) -> list[Values]:
        """Return the first *width* values of each row."""
        return list(zip(*self.columns[:width], strict=True))

    def numbered(self) -> Iterator[tuple[int, Values]]:
        """Return each row with its number."""
        return enumerate(self.rows, start=self.first)


def check_rows(
    definition: Definition, fields: Mapping[str, Field], data: Sequence[Data], first: int, insert_only: frozenset[str]
) -> ShippedRows:
    """Return the rows *data*, checked and converted.

    Args:
        definition: The definition of the seeder.
        fields: The fields of its mapped class.
        data: The rows, as the seeder gives them; at least one.
        first: The number of the first of them, from 1.
        insert_only: The attributes that are set only once.

    Raises:
        SeedDataError: A row is not made of names and values, lacks a part of the key, names a column that is not there,
            or has a value that its column cannot hold.
    """
    mappings = _mappings(definition, data, first)
    names = _names(definition, fields, mappings, first, insert_only)
    compared = sum(name not in insert_only for name in names)
    columns = list(zip(*_tuples(mappings, names), strict=True))
    converted = [
        _converted(fields[name], values, first, is_key=name in definition.key)
        for name, values in zip(names, columns, strict=True)
    ]
    return ShippedRows(names, compared, converted, first)


def _mappings(definition: Definition, data: Sequence[Data], first: int) -> Sequence[Mapping[str, Any]]:
    if set(map(type, data)) == {dict}:
        return cast("Sequence[Mapping[str, Any]]", data)
    return [_mapping(definition, row, number) for number, row in enumerate(data, start=first)]


def _mapping(definition: Definition, row: object, number: int) -> Mapping[str, Any]:
    if isinstance(row, dict):
        return cast("dict[str, Any]", row)
    if isinstance(row, BaseModel):
        try:
            return new_values(definition.mapper, row)
        except InvalidDataError as error:
            raise SeedDataError(str(error), row=number) from error
    if isinstance(row, Mapping):
        return dict(cast("Mapping[str, Any]", row))
    raise SeedDataError(f"a row is a mapping or a Pydantic model, not {type(row).__name__}", row=number)


def _names(
    definition: Definition,
    fields: Mapping[str, Field],
    rows: Sequence[Mapping[str, Any]],
    first: int,
    insert_only: frozenset[str],
) -> tuple[str, ...]:
    given = dict.fromkeys(chain.from_iterable(rows))
    for name in given:
        if name not in fields:
            number = next(number for number, row in enumerate(rows, start=first) if name in row)
            raise SeedDataError(unknown_field(definition.mapper, name, fields), row=number, column=name)
    if not (_have(len(given), rows) and given.keys() >= set(definition.key)):
        for name in definition.key:
            if any(name not in row for row in rows):
                number = next(number for number, row in enumerate(rows, start=first) if name not in row)
                raise SeedDataError("it is part of the key, and the row lacks it", row=number, column=name)
    rest = [name for name in given if name not in definition.key]
    return (*definition.key, *sorted(rest, key=insert_only.__contains__))


def _have(count: int, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether each of *rows* has *count* values."""
    return set(map(len, rows)) == {count}


def _tuples(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[Values]:
    if len(names) > 1 and _have(len(names), rows):
        return list(map(itemgetter(*names), rows))
    return [tuple(row.get(name, MISSING) for name in names) for row in rows]


def _converted(field: Field, values: Sequence[Any], first: int, *, is_key: bool) -> Sequence[Any]:
    try:
        return field.converted_key(values) if is_key else field.converted(values)
    except BadValueError as error:
        raise SeedDataError(str(error), row=first + error.position, column=field.name) from error
