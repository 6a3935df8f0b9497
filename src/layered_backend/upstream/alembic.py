"""The undocumented parts of Alembic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory

from layered_backend.upstream.verification import Package, Undocumented

__all__ = ["RevisionStep", "commits_all_or_nothing", "steps_down", "steps_up", "verify_alembic"]

_ALEMBIC = Package("alembic", "1.20")


def verify_alembic() -> None:
    """Check that the functions of this module can work.

    Raises:
        UnsupportedVersionError: Alembic has changed.
    """
    context = MigrationContext.configure(dialect_name="sqlite")
    _ALEMBIC.require(
        Undocumented(ScriptDirectory, "_upgrade_revs", ("destination", "current_rev")),
        Undocumented(ScriptDirectory, "_downgrade_revs", ("destination", "current_rev")),
        Undocumented(RevisionStep, "__init__", ("revision_map", "revision", "is_upgrade")),
        Undocumented(context, "impl"),
        Undocumented(getattr(context, "impl", None), "transactional_ddl"),
    )


def steps_up(scripts: ScriptDirectory, revision: str, heads: tuple[str, ...]) -> Sequence[RevisionStep]:
    """Return the steps from *heads* up to *revision*, the next one first.

    It calls `ScriptDirectory._upgrade_revs`, as Alembic's own command does. The public `command.upgrade` takes the steps
    itself and tells of each one only when it is done. Without it an error could not name the revision that has failed.
    """
    untyped: Any = scripts  # it is annotated for one head
    steps: Sequence[RevisionStep] = untyped._upgrade_revs(revision, heads)
    return steps


def steps_down(scripts: ScriptDirectory, revision: str, heads: tuple[str, ...]) -> Sequence[RevisionStep]:
    """Return the steps from *heads* down to *revision*, the newest first.

    It calls `ScriptDirectory._downgrade_revs`, as Alembic's own command does. The public `command.downgrade` takes the
    steps itself and tells of each one only when it is done. Without it an error could not name the revision that has
    failed.
    """
    untyped: Any = scripts  # it is annotated for one head
    steps: Sequence[RevisionStep] = untyped._downgrade_revs(revision, heads)
    return steps


def commits_all_or_nothing(context: MigrationContext) -> bool:
    """Tell whether the database undoes the change of a table with its transaction.

    It reads `MigrationContext.impl.transactional_ddl`. The documented option `transactional_ddl` sets it, and nothing
    public tells what it is. Without it the error of a failed revision could not say what is left of it.
    """
    return context.impl.transactional_ddl
