"""Batches of rows: taken from any iterable, one in memory at a time, and held by field."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import import_module
from itertools import compress, groupby, islice
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

import pydantic

__all__ = ["LEFT_OUT", "MISSING", "NOTHING", "Batch", "batched", "is_left_out"]

T = TypeVar("T")


class _Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "left out"


MISSING: Final = _Missing()
"""Stands for a value that a row leaves out."""


def _pydantic_missing() -> object:
    """Return Pydantic's own `MISSING`, or ours where this release of Pydantic has none."""
    try:
        return pydantic.MISSING  # type: ignore[attr-defined,unused-ignore]  # since Pydantic 2.14
    except AttributeError:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pydantic warns of what is experimental when it is imported
        try:
            experimental = import_module("pydantic.experimental.missing_sentinel")  # since Pydantic 2.12
        except ImportError:
            return MISSING
    return experimental.MISSING


_PYDANTIC_MISSING: Final = _pydantic_missing()


def is_left_out(value: object) -> bool:
    """Tell whether *value* stands for one that is left out, in our words or in Pydantic's (`pydantic.MISSING`)."""
    return value is _PYDANTIC_MISSING or value is MISSING


LEFT_OUT: Final[frozenset[type]] = frozenset({_Missing})
NOTHING: Final[frozenset[type]] = frozenset({_Missing, type(None)})


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, by field.

    Attributes:
        fields: Of each field, the values of the rows in their order; MISSING in a row that leaves it out.
        size: How many rows there are.
        numbers: The numbers of the rows in what the caller gave; none if they are those of the batch, from 0.
    """

    fields: Mapping[str, Sequence[Any]]
    size: int
    numbers: Sequence[int] = ()

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Return *rows*, by field."""
        return cls(_fields_alike(rows) or _fields(rows), len(rows))

    def kinds(self, name: str) -> set[type[Any]]:
        """Return the types of a field's values."""
        return set(map(type, self.fields[name]))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, each with what it sets."""
        return [
            {name: values[row] for name, values in self.fields.items() if values[row] is not MISSING}
            for row in range(self.size)
        ]

    def selected(self, rows: Sequence[int]) -> Batch:
        """Return the rows of those numbers, from 0."""
        fields = {name: [values[row] for row in rows] for name, values in self.fields.items()}
        return Batch(fields, len(rows), [self.number(row) for row in rows])

    def sliced(self, start: int, stop: int) -> Batch:
        """Return the rows from number *start* up to *stop*."""
        if start == 0 and stop >= self.size:
            return self
        fields = {name: values[start:stop] for name, values in self.fields.items()}
        return Batch(fields, min(stop, self.size) - start, (self.numbers or range(self.size))[start:stop])

    def value(self, name: str, row: int) -> object:
        """Return the value of a field in a row; MISSING if the row leaves it out."""
        return self.fields[name][row] if name in self.fields else MISSING

    def number(self, row: int) -> int:
        """Return the caller's number of a row."""
        return self.numbers[row] if self.numbers else row

    def without(self, names: Set[str]) -> Batch:
        """Return the rows without those fields."""
        fields = {name: values for name, values in self.fields.items() if name not in names}
        return Batch(fields, self.size, self.numbers)

    def alike(self, *, in_order: bool = False) -> Iterator[Batch]:
        """Yield the rows in parts, in each of which all rows set the same fields.

        Args:
            in_order: Whether the parts keep the order of the rows, though there are more of them.
        """
        return self.parted(dict.fromkeys(self.fields, LEFT_OUT), in_order=in_order)

    def parted(self, absent: Mapping[str, Set[type]], *, in_order: bool = False) -> Iterator[Batch]:
        """Yield the rows in parts, in each of which all rows have the same fields.

        Args:
            absent: Of each field, the types of the values that are as good as none.
            in_order: Whether the parts keep the order of the rows, though there are more of them.
        """
        kinds = {name: self.kinds(name) for name in self.fields}
        gone = {name for name in self.fields if kinds[name] <= absent[name]}
        mixed = [name for name in self.fields if name not in gone and kinds[name] & absent[name]]
        rest = self.without(gone) if gone else self
        if not mixed:
            yield rest
            return
        patterns = zip(*([type(value) in absent[name] for value in self.fields[name]] for name in mixed), strict=True)
        for pattern, rows in _runs(patterns) if in_order else _places(patterns).items():
            yield rest.selected(rows).without({*compress(mixed, pattern)})


async def batched(rows: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[list[T]]:
    """Yield *rows* in lists of at most *size*."""
    if isinstance(rows, Iterable):
        iterator = iter(rows)
        while batch := list(islice(iterator, size)):
            yield batch
        return
    batch = list[T]()
    async for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = list[T]()
    if batch:
        yield batch


def _fields_alike(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Any]] | None:
    """Return the fields of rows that all have the same, as most have; None where they have not."""
    names = tuple(rows[0]) if rows else ()
    # Only of dictionaries: another mapping might answer for a field that it has not.
    if not names or {*map(type, rows)} != {dict} or {*map(len, rows)} != {len(names)}:
        return None
    values_of = cast("Callable[[Mapping[str, Any]], Any]", itemgetter(*names))
    try:
        values = list(map(values_of, rows))
    except KeyError:
        return None
    columns = zip(*values, strict=True) if len(names) > 1 else [values]
    return dict(zip(names, columns, strict=True))


def _fields(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, MISSING) for row in rows] for name in names}


def _places(patterns: Iterator[tuple[bool, ...]]) -> Mapping[tuple[bool, ...], list[int]]:
    places: dict[tuple[bool, ...], list[int]] = {}
    for place, pattern in enumerate(patterns):
        places.setdefault(pattern, []).append(place)
    return places


def _runs(patterns: Iterator[tuple[bool, ...]]) -> Iterator[tuple[tuple[bool, ...], list[int]]]:
    for pattern, run in groupby(enumerate(patterns), key=itemgetter(1)):
        yield pattern, [place for place, _ in run]
