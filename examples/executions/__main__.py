"""`python -m examples.executions` migrates, seeds and serves; PORT is 8000, and `--no-serve` ends before that.

`python -m examples.executions add-user north/eve` makes a user, and the group where there is none.
"""

import argparse
import asyncio
import os
import secrets
import sys
from getpass import getpass
from pathlib import Path
from typing import get_args

import uvicorn

from examples.executions import models, schemas, services
from examples.executions.application import create_app
from examples.executions.seeds import seeds
from examples.executions.seeds.groups import PASSWORD
from examples.executions.settings import ExecutionsSettings
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Database, LayeredError
from layered_backend.cli import progress_shown
from layered_backend.migrations import upgrade

MIGRATIONS = Path(__file__).parent / "migrations"


async def prepare(database: Database) -> bool:
    """Bring the tables and the shipped rows up to date, say what was done, and tell whether that went well."""
    async with database:
        for revision in await upgrade(database, folder=MIGRATIONS):
            print(f"Migrated to {revision}")
        with progress_shown() as progress:
            report = await seeds.run(database=database, progress=progress)
    print(report, flush=True)
    return report.ok


async def add_user(database: Database, username: str, password: str, scopes: list[str]) -> None:
    """Make a user, `group/name`, with those scopes, and the group where there is none."""
    group, _, name = username.partition("/")
    hashed = await services.hasher.hash(password)
    async with ExecutionsUnitOfWork(database) as uow:
        with uow.without("tenant"):
            row, _ = await uow.groups.get_or_create({"name": group}, on=models.Group.name)
            await uow.users.create({"group_id": row.id, "name": name, "password_hash": hashed, "scopes": scopes})


def main() -> None:
    """Prepare the database that DATABASE_URL names, and serve the executions, or end the process with one sentence."""
    if os.environ.setdefault("LAYERED_ENV", "development") == "development":
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))  # a restart logs everybody out
    parser = argparse.ArgumentParser("python -m examples.executions")
    parser.add_argument("--no-serve", action="store_true", help="end when the database is prepared")
    parser.add_subparsers().add_parser("add-user").add_argument("username", metavar="GROUP/NAME")
    chosen = parser.parse_args()
    settings, port = ExecutionsSettings.load(), int(os.environ.get("PORT", "8000"))
    database = settings.database()
    try:
        if not asyncio.run(prepare(database)):
            sys.exit(1)
        if "username" in chosen:
            asyncio.run(add_user(database, chosen.username, getpass(), [*get_args(schemas.UserScope)]))
        elif not chosen.no_serve:
            print(f"http://127.0.0.1:{port}/ for north/ann, south/bob and shared/operator: {PASSWORD!r}", flush=True)
            uvicorn.run(create_app(settings), port=port, log_level="warning", timeout_graceful_shutdown=3)
    except (LayeredError, ModuleNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
