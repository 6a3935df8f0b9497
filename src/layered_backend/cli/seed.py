"""`layered-backend seed`: run the seeders, and tell what a run would do."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.tree import Tree

from layered_backend.cli.output import (
    FAILED,
    errors_shown,
    progress_shown,
    show_lines,
    show_note,
    show_report,
    show_tree,
)
from layered_backend.cli.target import load_runner
from layered_backend.errors import SeedDeletionError, SeedPlanError
from layered_backend.seeding import Seeder, SeedReport, SeedRunner
from layered_backend.seeding.files import text_of

__all__ = ["seed"]

seed: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Bring the rows that the application ships into the database."
)

Names = Annotated[list[str] | None, typer.Argument(help="The seeders that are wanted; what they depend on comes too.")]
App = Annotated[str | None, typer.Option("--app", help="The seed runner, as module:attribute.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Those with this label; may be repeated.")]
Environment = Annotated[str | None, typer.Option("--env", help="Where this is; LAYERED_ENV unless given.")]
All = Annotated[bool, typer.Option("--all", help="All seeders.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, and tell what would become of each row.")]
Atomic = Annotated[bool, typer.Option("--atomic", help="Let one failure undo all.")]
Force = Annotated[bool, typer.Option("--force", help="Delete retired rows in production without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the tracebacks of errors.")]

Output = Annotated[
    Path | None, typer.Option("--output", help="The file, .json, .jsonl, .yaml or .yml; standard output unless given.")
]
Format = Annotated[str, typer.Option("--format", help="What standard output gets: json, jsonl or yaml.")]
Without = Annotated[list[str] | None, typer.Option("--without", help="An attribute to leave out; may be repeated.")]


@seed.command()
def run(  # noqa: PLR0917  # the arguments of a command
    names: Names = None,
    all_: All = False,
    tags: Tags = None,
    environment: Environment = None,
    dry_run: DryRun = False,
    atomic: Atomic = False,
    force: Force = False,
    as_json: AsJson = False,
    app: App = None,
    debug: Debug = False,
) -> None:
    """Run the seeders that are named, or all of them."""
    with errors_shown(debug=debug):
        if not (names or all_ or tags):
            raise SeedPlanError("name the seeders that are wanted, or write --all")
        wanted = _Wanted(load_runner(app), None if all_ else names, tags, environment)
        report = wanted.run(dry_run=dry_run, atomic=atomic, allow_deletes=force, shows_bars=not as_json)
        if not as_json and _asks_for_deletes(report) and _agrees(report):
            report = wanted.run(atomic=atomic, allow_deletes=True, shows_bars=True)
        _tell(report, as_json=as_json, changes=dry_run, debug=debug)


@seed.command()
def status(
    names: Names = None,
    environment: Environment = None,
    as_json: AsJson = False,
    app: App = None,
    debug: Debug = False,
) -> None:
    """Tell what a run would change; nothing is written."""
    with errors_shown(debug=debug):
        report = _Wanted(load_runner(app), names, None, environment).run(dry_run=True, shows_bars=not as_json)
        _tell(report, as_json=as_json, changes=True, debug=debug)


@seed.command("list")
def list_(app: App = None, debug: Debug = False) -> None:
    """List the seeders."""
    with errors_shown(debug=debug):
        show_lines(_line(seeder) for seeder in load_runner(app).seeders)


@seed.command()
def plan(
    names: Names = None, tags: Tags = None, environment: Environment = None, app: App = None, debug: Debug = False
) -> None:
    """Show the order of a run, and below each seeder what it depends on."""
    with errors_shown(debug=debug):
        wanted = load_runner(app).plan(only=names, tags=tags, environment=environment)
        tree = Tree(f"{len(wanted.order)} seeders in {wanted.environment}")
        for position, seeder in enumerate(wanted.order, start=1):
            reason = wanted.excluded.get(seeder)
            branch = tree.add(f"{position}. {seeder.name}" + (f" (skipped: {reason})" if reason else ""))
            _add_dependencies(branch, seeder)
        show_tree(tree)


@seed.command()
def export(  # noqa: PLR0917  # the arguments of a command
    name: Annotated[str, typer.Argument(help="The seeder whose table is written.")],
    target: Output = None,
    file_format: Format = "json",
    without: Without = None,
    app: App = None,
    debug: Debug = False,
) -> None:
    """Write the stored rows of a seeder's table as a seed file, with references in place of foreign keys."""
    with errors_shown(debug=debug):
        rows = asyncio.run(_exported(load_runner(app), name, without or ()))
        text = text_of(rows, f".{file_format}" if target is None else target.suffix)
        if target is None:
            sys.stdout.write(text)
        else:
            target.write_text(text, encoding="utf-8")
        show_note(f"{len(rows)} rows of {name}. Look for secrets before you share them: all columns are written.")


async def _exported(runner: SeedRunner, name: str, without: Sequence[str]) -> list[dict[str, Any]]:
    async with runner.database:
        return await runner.export(name, without=without)


@dataclass(frozen=True)
class _Wanted:
    """The seeders to run."""

    runner: SeedRunner
    names: Sequence[str] | None
    tags: Sequence[str] | None
    environment: str | None

    def run(self, *, shows_bars: bool, **options: Any) -> SeedReport:
        with progress_shown(wanted=shows_bars) as progress:
            return asyncio.run(self._run(progress=progress, **options))

    async def _run(self, **options: Any) -> SeedReport:
        async with self.runner.database:
            return await self.runner.run(
                only=self.names or None, tags=self.tags or None, environment=self.environment, **options
            )


def _asks_for_deletes(report: SeedReport) -> bool:
    return sys.stdin.isatty() and any(isinstance(result.error, SeedDeletionError) for result in report.results)


def _agrees(report: SeedReport) -> bool:
    rows = [f"{result.name}: {change}" for result in report.results for change in result.changes]
    show_lines(["The run would delete in production:", *(f"  {row}" for row in rows)])
    return typer.confirm(f"Delete {len(rows)} rows?")


def _tell(report: SeedReport, *, as_json: bool, changes: bool, debug: bool) -> None:
    if as_json:
        show_lines([json.dumps(report.as_dict(), indent=2)])
    else:
        show_report(report, changes=changes, debug=debug)
    if not report.ok:
        raise typer.Exit(FAILED)


def _line(seeder: type[Seeder[Any]]) -> str:
    facts = (("environments", seeder.environments), ("tags", seeder.tags))
    notes = [f"{name}: {', '.join(values)}" for name, values in facts if values]
    return f"{seeder.name} ({'; '.join([seeder.__module__, *notes])})"


def _add_dependencies(branch: Tree, seeder: type[Seeder[Any]]) -> None:
    for dependency in seeder.depends_on:
        _add_dependencies(branch.add(dependency.name), dependency)
