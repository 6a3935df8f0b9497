"""Keyset pages: rows behind a place, or before it, found by value and not by counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from layered_backend.query.cursor import Cursor, decoded, encoded
from layered_backend.query.keyset_ranges import Key
from layered_backend.query.pagination import CursorPage, CursorParams

__all__ = ["Keyset", "place_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Keyset:
    """A page by cursor: the place that it is at, and what its rows make.

    Attributes:
        keys: What the rows are sorted by; no two of them are equal in all keys.
        size: How many rows a page has at most.
        fingerprint: What the cursors are bound to.
        cursor: The place that the page is at; None for the first page.
    """

    keys: Sequence[Key]
    size: int
    fingerprint: str
    cursor: Cursor | None

    @classmethod
    def of(cls, params: CursorParams, keys: Sequence[Key], fingerprint: str) -> Keyset:
        """Return the page that *params* ask for.

        Raises:
            InvalidCursorError: The cursor is broken, or of another query.
        """
        types = [key.form.read.type for key in keys]
        cursor = None if params.cursor is None else decoded(params.cursor, fingerprint, types)
        return cls(keys, params.size, fingerprint, cursor)

    @property
    def is_backward(self) -> bool:
        """Whether the rows are read in reverse."""
        return self.cursor is not None and self.cursor.is_backward

    def page(self, items: Sequence[T], rows: Sequence[Sequence[Any]]) -> CursorPage[T]:
        """Return the page of *items*, which were made of *rows*: these have what they are sorted by at their end."""
        has_more = len(rows) > self.size
        items, rows = items[: self.size], rows[: self.size]
        if self.is_backward:
            items, rows = items[::-1], rows[::-1]
        has_next, has_previous = (True, has_more) if self.is_backward else (has_more, self.cursor is not None)
        return CursorPage(
            items=items,
            size=self.size,
            next=self._encoded(rows[-1:], is_backward=False) if has_next else None,
            previous=self._encoded(rows[:1], is_backward=True) if has_previous else None,
        )

    def _encoded(self, edge: Sequence[Sequence[Any]], *, is_backward: bool) -> str:
        """Return the cursor beside the row at the *edge* of the page; an empty page has its own place for an edge."""
        if edge:
            (row,) = edge
            return encoded(Cursor(place_of(row, self.keys), is_backward), self.fingerprint)
        assert self.cursor is not None, "the first page has no page before it, and an empty one none behind it"
        is_inclusive = not self.cursor.is_inclusive  # the row at the place was on neither side
        return encoded(Cursor(self.cursor.values, is_backward, is_inclusive), self.fingerprint)


def place_of(row: Sequence[Any], keys: Sequence[Key]) -> tuple[Any, ...]:
    """Return what *row* is sorted by, which it has at its end."""
    return tuple(row[len(row) - len(keys) :])
