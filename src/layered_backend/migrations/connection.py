"""One connection for the migrations: awaited or not, as the installed drivers have it, once the database is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import URL, Connection

from layered_backend.database import Database
from layered_backend.dialects.reading import NO_DATABASE, NO_FILE, REFUSED
from layered_backend.errors import DatabaseUnavailableError, MigrationSetupError

__all__ = ["on_connection"]

_PAUSE = 0.5  # seconds between two attempts to connect
_FINAL = frozenset({REFUSED, NO_DATABASE, NO_FILE})

Work = Callable[[Connection], None]


def on_connection(database: Database, work: Work, *, wait: float) -> None:
    """Run *work* on a connection of its own, which is closed afterwards.

    It goes through the synchronous driver. Where that is not installed, it goes through the asynchronous one, on an event
    loop in a thread of its own: the caller may be in one.

    Args:
        database: Where to.
        work: What to do there.
        wait: Seconds to wait for a database that is not up yet. One that refuses the credentials is not waited for.

    Raises:
        DatabaseUnavailableError: It cannot be reached.
        MigrationSetupError: The database is in memory.
        ModuleNotFoundError: No driver is installed; the message says what to install.
    """
    if database.is_in_memory:
        raise MigrationSetupError(
            "a database in memory is empty whenever it is opened, so there is nothing to migrate; use create_all()"
        )
    alone, patience = database.unpooled(), _Patience(database, wait)
    try:
        engine = alone.sync_engine
    except ModuleNotFoundError:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _awaited(alone, work, patience)).result()
        return
    _wait(alone, patience)
    database.dialect.migrations.prepare_dialect(engine.dialect)
    with engine.connect() as connection:
        work(connection)


async def _awaited(database: Database, work: Work, patience: _Patience) -> None:
    async with database:
        while True:
            try:
                await database.ping()
                break
            except DatabaseUnavailableError as error:
                await asyncio.sleep(patience.pause_after(error))
        database.dialect.migrations.prepare_dialect(database.engine.dialect)
        async with database.engine.connect() as connection:
            await connection.run_sync(work)


def _wait(database: Database, patience: _Patience) -> None:
    while True:
        try:
            return database.ping_sync()
        except DatabaseUnavailableError as error:
            time.sleep(patience.pause_after(error))


class _Patience:
    """How long a database that does not answer is asked again."""

    def __init__(self, database: Database, seconds: float) -> None:
        url = database.url  # of which the user, the password and the options are nobody else's business
        self._place = URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()
        self._told = f"{self._place} has not answered for {seconds:g} seconds"
        self._deadline = time.monotonic() + seconds

    def pause_after(self, error: DatabaseUnavailableError) -> float:
        """Return the seconds until the next attempt.

        Raises:
            DatabaseUnavailableError: There is none: the time is up, or would change nothing.
        """
        if str(error) in _FINAL:
            raise DatabaseUnavailableError(f"{self._place}: {error}") from error
        if time.monotonic() >= self._deadline:
            raise DatabaseUnavailableError(self._told) from error
        return _PAUSE
