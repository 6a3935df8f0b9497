"""Upserts of the databases that have ON CONFLICT: SQLite took it over from PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Insert

__all__ = ["on_conflict"]


def on_conflict(
    insert: Any,
    on: Sequence[Column[Any]],
    changes: Callable[[Any], Mapping[Column[Any], Any]],
    condition: ColumnElement[bool] | None,
) -> Insert:
    """Return *insert*, which changes the row with the same key instead where there is one, and *condition* holds."""
    changed = changes(insert.excluded)
    statement: Insert = (
        insert.on_conflict_do_update(index_elements=on, set_=changed, where=condition)
        if changed
        else insert.on_conflict_do_nothing(index_elements=on)
    )
    return statement
