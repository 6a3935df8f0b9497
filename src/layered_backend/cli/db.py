"""`layered-backend db`: migrate the database, and find out whether it is what the models say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layered_backend.cli.output import FAILED, errors_shown, show_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from layered_backend.migrations import Revision

__all__ = ["db"]

db: typer.Typer = typer.Typer(no_args_is_help=True, help="Bring the tables of the database to what the models say.")

Folder = Annotated[
    str | None, typer.Option("--folder", help="The folder of the migrations; the configured one unless given.")
]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for a database that is not up yet.")]
LockTimeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for another process that is migrating.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the tracebacks of errors.")]
Message = Annotated[str, typer.Option("--message", "-m", help="What the revision is for, in a few words.")]
Empty = Annotated[bool, typer.Option("--empty", help="Write no changes into it, and leave the database alone.")]
Target = Annotated[str, typer.Argument(help="The revision to go to; head is the newest, +1 the next.")]
Past = Annotated[str, typer.Argument(help="The revision to go back to; -1 is the one before, base none.")]
Module = Annotated[str, typer.Argument(help="The module that has `Base` and `database`: shop.models.")]


@db.command()
def upgrade(  # noqa: PLR0917  # the arguments of a command
    revision: Target = "head",
    wait: Wait = 30,
    lock_timeout: LockTimeout = 600,
    folder: Folder = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Apply the revisions that are pending."""
    with errors_shown(debug=debug):
        applied = _migrations().upgrade_sync(None, revision, folder=folder, wait=wait, lock_timeout=lock_timeout)
        _tell("applied", applied, as_json=as_json)


@db.command(context_settings={"ignore_unknown_options": True})  # -1 is none
def downgrade(  # noqa: PLR0917  # the arguments of a command
    revision: Past,
    wait: Wait = 30,
    lock_timeout: LockTimeout = 600,
    folder: Folder = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Undo revisions, the newest first."""
    with errors_shown(debug=debug):
        undone = _migrations().downgrade_sync(None, revision, folder=folder, wait=wait, lock_timeout=lock_timeout)
        _tell("undone", undone, as_json=as_json)


@db.command()
def check(wait: Wait = 30, folder: Folder = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Tell what is pending, and where the models differ from the database; status 0 is for neither."""
    with errors_shown(debug=debug):
        report = _migrations().check_sync(folder=folder, wait=wait)
        show_lines([json.dumps(report.as_dict(), indent=2) if as_json else report])
        if not report.ok:
            raise typer.Exit(FAILED)


@db.command()
def revision(
    message: Message, empty: Empty = False, wait: Wait = 30, folder: Folder = None, debug: Debug = False
) -> None:
    """Write the revision that makes of the tables what the models say."""
    with errors_shown(debug=debug):
        written = _migrations().write_revision(message, folder=folder, wait=wait, empty=empty)
        show_lines([f"wrote {written}; read it before you apply it" if written else "nothing has changed"])


@db.command()
def init(
    module: Module, folder: Annotated[str, typer.Argument(help="Where.")] = "migrations", debug: Debug = False
) -> None:
    """Write a folder for migrations, and what leads to it into pyproject.toml."""
    with errors_shown(debug=debug):
        show_lines(f"wrote {path}" for path in _migrations().init(module, folder))


def _migrations() -> ModuleType:
    """Return the part that needs Alembic, which other commands do without; the working directory can be imported from."""
    from layered_backend import migrations  # needs the extra

    sys.path[:0] = [] if str(Path.cwd()) in sys.path else [str(Path.cwd())]
    return migrations


def _tell(verb: str, revisions: Sequence[Revision], *, as_json: bool) -> None:
    if as_json:
        listed = [{"id": each.id, "message": each.message} for each in revisions]
        show_lines([json.dumps({"ok": True, verb: listed}, indent=2)])
    else:
        show_lines([f"{verb} {each}" for each in revisions] or ["there is nothing to do"])
