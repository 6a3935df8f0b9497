"""What is told of a failed revision: which one, why, and what is left of it."""

from __future__ import annotations

from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from layered_backend.errors import LayeredError
from layered_backend.migrations.report import Revision
from layered_backend.upstream.alembic import commits_all_or_nothing

__all__ = ["cause_of", "failure_of"]


def failure_of(revision: Revision, context: MigrationContext, error: BaseException) -> str:
    """Return what to tell of *revision*, which has failed with *error*."""
    return f"revision {revision} failed: {cause_of(error)}; {_rest_of(revision, context)}"


def _rest_of(revision: Revision, context: MigrationContext) -> str:
    if commits_all_or_nothing(context):
        return "its transaction is rolled back"
    name = "MariaDB" if getattr(context.dialect, "is_mariadb", False) else "MySQL"
    return (
        f"{name} commits each change of a table at once, so what the revision has changed before is still there, now or from "
        f"an earlier attempt: undo it by hand, or do the rest by hand and run `alembic stamp {revision.id}`"
    )


def cause_of(error: BaseException) -> str:
    """Return what *error* says, in one line, without the statement.

    A translated error holds no values. What is left untranslated is about tables, not about rows.
    """
    if isinstance(error, LayeredError):
        return str(error)
    said = str(error.orig) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}"
    first, *_ = said.splitlines() or [""]
    return first.partition(" near '")[0]  # behind it, MariaDB quotes the statement
