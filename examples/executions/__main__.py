"""`python -m examples.executions` migrates, seeds and serves; PORT is 8000, and `--no-serve` ends before that."""

import asyncio
import os
import secrets
import sys
from pathlib import Path

import uvicorn

from examples.executions.application import create_app
from examples.executions.seeds import seeds
from examples.executions.seeds.groups import PASSWORD
from examples.executions.settings import ExecutionsSettings
from layered_backend import Database
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


def main() -> int:
    """Prepare the database that DATABASE_URL names, and serve the executions; return the exit code."""
    if os.environ.setdefault("LAYERED_ENV", "development") == "development":
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))  # a restart logs everybody out
    settings, port = ExecutionsSettings.load(), int(os.environ.get("PORT", "8000"))
    if not asyncio.run(prepare(settings.database())):
        return 1
    if "--no-serve" not in sys.argv:
        print(f"http://127.0.0.1:{port}/ for north/ann, south/bob and shared/operator: {PASSWORD!r}", flush=True)
        uvicorn.run(create_app(settings), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
