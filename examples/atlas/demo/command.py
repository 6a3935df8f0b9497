"""The command behind `python -m examples.atlas`."""

import argparse
import asyncio
import sys
import threading
from collections.abc import Sequence

import httpx2
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from examples.atlas.application import create_app
from examples.atlas.database import database_url
from examples.atlas.demo import progress
from examples.atlas.demo.errors import DemonstrationError
from examples.atlas.demo.server import listen, serving
from examples.atlas.demo.walk import walk
from examples.atlas.seeds import seeds
from layered_backend import Database, LayeredError, SeedReport

_FAILURES = (DemonstrationError, LayeredError, SQLAlchemyError, httpx2.HTTPError, ImportError, OSError, ValueError)
_LAST_PORT = 65535
_INTERRUPTED = 130  # as a shell reports a command that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Seed the atlas twice, serve it, walk through it, and go on serving until Ctrl-C.

    Args:
        arguments: Of the command line; those of the process unless they are given.

    Returns:
        The exit code: 0, or 1 after a failure, which is said in one line.
    """
    options = _parser().parse_args(arguments)
    try:
        return _demonstrate(options.database, options.port, goes_on=options.serve)
    except _FAILURES as error:
        print(f"atlas: {_first_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m examples.atlas", description="Seed an atlas, serve it, walk through it."
    )
    parser.add_argument("--no-serve", dest="serve", action="store_false", help="exit after the walk")
    parser.add_argument("--port", type=_port, default=0, help="where to listen on 127.0.0.1 (default: any free port)")
    parser.add_argument(
        "--database",
        default=database_url(),
        metavar="URL",
        help="where the atlas is stored (default: $ATLAS_DATABASE_URL, else the file atlas.db in this directory)",
    )
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= _LAST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to {_LAST_PORT}")


def _demonstrate(url: str, port: int, *, goes_on: bool) -> int:
    console = Console(highlight=False)
    database = Database(url)
    with listen(port) as listener:
        console.print(f"Seeding the atlas into {database.url.render_as_string()}", soft_wrap=True)
        asyncio.run(_seed_twice(database, console))
        address = "http://{}:{}".format(*listener.getsockname())
        with serving(create_app(database), listener) as server:
            walk(address, console)
            if goes_on:
                console.print(f"\nThe atlas is at {address}/docs. Press Ctrl-C to stop.", soft_wrap=True)
                _wait(server)
    return 0


async def _seed_twice(database: Database, console: Console) -> None:
    async with database:
        await database.create_all()
        await _seed(database, console)
        console.print("\nSeeding it again, which changes nothing")
        again = await _seed(database, console)
    if any(result.inserted or result.updated or result.deleted for result in again.results):
        raise DemonstrationError("the second run changed something")


async def _seed(database: Database, console: Console) -> SeedReport:
    with progress.shown(console) as tell:
        report = await seeds.run(database=database, progress=tell)
    console.print(str(report), soft_wrap=True)
    if not report.ok:
        raise DemonstrationError("the atlas could not be seeded")
    return report


def _wait(server: threading.Thread) -> None:
    try:
        while server.is_alive():
            server.join(timeout=1)  # second; a join without an end cannot be interrupted everywhere
    except KeyboardInterrupt:
        pass


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
