"""Upserts of the databases that have ON CONFLICT: SQLite took it over from PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Insert

from layered_backend.dialects.rows import UpsertRule

__all__ = ["on_conflict"]


def on_conflict(insert: Any, rule: UpsertRule) -> Insert:
    """Return *insert*, which changes the row with the same key instead where there is one and the condition holds.

    Args:
        insert: The database's own, as the class depends on it.
        rule: What to change.
    """
    changed = rule.changes(insert.excluded)
    statement: Insert = (
        insert.on_conflict_do_update(index_elements=rule.on, set_=changed, where=rule.condition)
        if changed
        else insert.on_conflict_do_nothing(index_elements=rule.on)
    )
    return statement
