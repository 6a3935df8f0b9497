"""Bringing a database to a revision, finding out how far it is, and writing the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import alembic.command
from alembic.autogenerate import compare_metadata
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script

from layered_backend.database import Database
from layered_backend.errors import MigrationError
from layered_backend.migrations.drift import sentences
from layered_backend.migrations.report import MigrationReport, Revision
from layered_backend.migrations.request import LOCK_TIMEOUT, WAIT, Request
from layered_backend.migrations.run import Heads, Run
from layered_backend.session import uninterrupted
from layered_backend.upstream.alembic import RevisionStep

__all__ = ["check", "check_sync", "downgrade", "downgrade_sync", "upgrade", "upgrade_sync", "write_revision"]

T = TypeVar("T")


def upgrade_sync(
    database: Database | None = None,
    revision: str = "head",
    *,
    folder: str | Path | None = None,
    wait: float = WAIT,
    lock_timeout: float = LOCK_TIMEOUT,
) -> Sequence[Revision]:
    """Bring a database to *revision*, or leave it there.

    Of several processes that do so at once, one migrates, and the others wait for it. On PostgreSQL and SQLite all of the
    revisions are one transaction; MariaDB commits each change of a table.

    Args:
        database: What to migrate; what env.py names, unless it is given.
        revision: Where to; `head` is the newest, `+1` the next one.
        folder: The folder of the migrations; the one that alembic.ini or pyproject.toml names, from the working directory
            upwards, unless it is given.
        wait: Seconds to wait for a database that is not up yet. Wrong credentials are not waited for.
        lock_timeout: Seconds to wait for another process that is migrating.

    Returns:
        The revisions that were applied, in their order; none where there was nothing to do.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        LockTimeoutError: Another process was migrating all the time.
        MigrationError: A revision has failed; the message says which one, and what is left of it.
        MigrationSetupError: There is no such revision, or no folder of migrations.
    """
    run = Run(Request(database, wait, lock_timeout), folder)

    def steps(heads: Heads, _context: MigrationContext) -> Iterable[RevisionStep]:
        return run.steps_up(revision, heads)

    run.act(steps, destination_rev=revision)
    return run.done


def downgrade_sync(
    database: Database | None = None,
    revision: str = "-1",
    *,
    folder: str | Path | None = None,
    wait: float = WAIT,
    lock_timeout: float = LOCK_TIMEOUT,
) -> Sequence[Revision]:
    """Take a database back to *revision*; the arguments and errors are those of `upgrade_sync`.

    Args:
        database: What to migrate.
        revision: Where to; `-1` is the one before, `base` before the first.
        folder: The folder of the migrations.
        wait: Seconds to wait for a database that is not up yet.
        lock_timeout: Seconds to wait for another process that is migrating.

    Returns:
        The revisions that were undone, in the order in which they were.
    """
    run = Run(Request(database, wait, lock_timeout), folder)

    def steps(heads: Heads, _context: MigrationContext) -> Iterable[RevisionStep]:
        return run.steps_down(revision, heads)

    run.act(steps, destination_rev=revision)
    return run.done


def check_sync(
    database: Database | None = None, *, folder: str | Path | None = None, wait: float = WAIT
) -> MigrationReport:
    """Find out what is pending, and where the tables differ from the models; nothing is written.

    Args:
        database: What to look at; what env.py names, unless it is given.
        folder: The folder of the migrations, as for `upgrade_sync`.
        wait: Seconds to wait for a database that is not up yet.

    Returns:
        The report; look at its `ok`.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        MigrationError: The database is at a revision that the folder does not have.
        MigrationSetupError: There is no folder of migrations.
    """
    return _checked(database, folder, wait)[1]


def _checked(database: Database | None, folder: str | Path | None, wait: float) -> tuple[Run, MigrationReport]:
    request = Request(database, wait, only_reads=True)
    run = Run(request, folder)
    reports: list[MigrationReport] = []

    def look(heads: Heads, context: MigrationContext) -> Iterable[RevisionStep]:
        steps = run.steps_up("heads", heads)
        pending = tuple(Revision.of(step.revision) for step in steps)
        drift = () if pending else _drift(context)
        reports.append(MigrationReport(tuple(sorted(heads)), pending, tuple(drift), request.has_models))
        return ()

    run.act(look)
    return run, reports[0]


def _drift(context: MigrationContext) -> Iterable[str]:
    differences = compare_metadata(context, context.opts["target_metadata"])
    return sentences(differences, context.dialect)


def write_revision(
    message: str,
    *,
    database: Database | None = None,
    folder: str | Path | None = None,
    wait: float = WAIT,
    empty: bool = False,
) -> Path | None:
    """Write the revision that makes of the tables what the models say; read it before you apply it.

    Args:
        message: What it is for, in a few words.
        database: What to compare the models with; what env.py names, unless it is given.
        folder: The folder of the migrations, as for `upgrade_sync`.
        wait: Seconds to wait for a database that is not up yet.
        empty: Write one without changes, to be filled in by hand; the database is not looked at.

    Returns:
        Its file; None where nothing has changed.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        MigrationError: Revisions are pending, so that the difference would be theirs too.
        MigrationSetupError: There is no folder of migrations, its env.py does not call `run_migrations`, or has no models.
    """
    if empty:
        Run(Request(database, wait), folder).verify_environment()
    else:
        checked, report = _checked(database, folder, wait)
        if report.pending:
            raise MigrationError(f"{report}; apply what is pending first")
        checked.require_models()
    run = Run(Request(database, wait, only_reads=True), folder)
    with run.failures_told():
        script = alembic.command.revision(
            run.config,
            _escaped(message),
            autogenerate=not empty,
            process_revision_directives=None if empty else _leave_out_empty,
        )
    written = script if isinstance(script, Script) else next(iter(script or ()), None)
    return Path(written.path) if written else None


def _escaped(message: str) -> str:
    """Return *message* as it can stand in a docstring, where the template of a folder puts it as it is."""
    return "".join(
        f"\\{each}" if each in "\\\"'" else each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in message
    )


def _leave_out_empty(_context: MigrationContext, _heads: object, scripts: list[MigrationScript]) -> None:
    """Have Alembic write nothing where nothing has changed."""
    if all(operations.is_empty() for script in scripts for operations in script.upgrade_ops_list):
        scripts.clear()


async def upgrade(
    database: Database | None = None,
    revision: str = "head",
    *,
    folder: str | Path | None = None,
    wait: float = WAIT,
    lock_timeout: float = LOCK_TIMEOUT,
) -> Sequence[Revision]:
    """Do what `upgrade_sync` does in a thread, beside the event loop; a cancellation waits until it has ended."""
    return await _in_thread(
        partial(upgrade_sync, database, revision, folder=folder, wait=wait, lock_timeout=lock_timeout)
    )


async def downgrade(
    database: Database | None = None,
    revision: str = "-1",
    *,
    folder: str | Path | None = None,
    wait: float = WAIT,
    lock_timeout: float = LOCK_TIMEOUT,
) -> Sequence[Revision]:
    """Do what `downgrade_sync` does in a thread, beside the event loop; a cancellation waits until it has ended."""
    return await _in_thread(
        partial(downgrade_sync, database, revision, folder=folder, wait=wait, lock_timeout=lock_timeout)
    )


async def check(
    database: Database | None = None, *, folder: str | Path | None = None, wait: float = WAIT
) -> MigrationReport:
    """Do what `check_sync` does in a thread, beside the event loop."""
    return await _in_thread(partial(check_sync, database, folder=folder, wait=wait))


async def _in_thread(work: Callable[[], T]) -> T:
    return await uninterrupted(asyncio.to_thread(work))
