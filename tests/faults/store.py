"""A server that is left running for many tests, and what a test asks of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.databases import Backend, new_database, pooled
from tests.faults.serving import Server, serving
from tests.faults.witness import Witness

__all__ = ["NEVER_IN_THE_LOG", "Store", "open_store"]

_PATIENCE = 30  # seconds
NEVER_IN_THE_LOG = (
    "Task exception was never retrieved",
    "Task was destroyed but it is pending",
    "Future exception was never retrieved",
    "was never awaited",
    "SAWarning",
    "ResourceWarning",
    "garbage collector is trying to clean up",
)


@dataclass
class Store:
    """An application on a database, and the witness of what becomes of its rows.

    Attributes:
        backend: How the server reaches the database.
        server: The server, whose pool has two connections.
        witness: The test's own way to the database.
    """

    backend: Backend
    server: Server
    witness: Witness
    _log_begins_at: int = field(default=0, repr=False)

    def __str__(self) -> str:
        return str(self.backend)

    @property
    def log(self) -> str:
        """What the server printed since `clear`."""
        return self.server.log[self._log_begins_at :]

    async def clear(self) -> None:
        """Forget what an earlier test has left: rows, journal and log."""
        self.witness.empty()
        await self.journal()
        self._log_begins_at = len(self.server.log)

    async def journal(self) -> list[str]:
        """Return what the server did since this was last asked."""
        async with self.server.client() as client:
            entries: list[str] = (await client.get("/journal")).json()
            return entries

    async def until_noted(self, entry: str) -> list[str]:
        """Wait until *entry* is in the journal, and return the journal so far."""
        entries: list[str] = []
        deadline = time.monotonic() + _PATIENCE
        while entry not in entries:
            assert time.monotonic() < deadline, f"{entry!r} did not happen: {entries}"
            entries += await self.journal()
            await asyncio.sleep(0.01)
        return entries

    async def until_nothing_is_left(self) -> None:
        """Wait until every request is at its end, no connection is lent, and no transaction is open.

        Raises:
            AssertionError: That does not come to pass.
        """
        async with self.server.client() as client:
            await self._until_zero(client, "/in-flight")
            await self._until_zero(client, "/checked-out")
        await asyncio.to_thread(self.witness.assert_nothing_open)

    async def assert_sound(self) -> None:
        """Assert that nothing is left of earlier requests, that the whole pool works, and that the log is clean."""
        await self.until_nothing_is_left()
        names = [f"at the end {secrets.token_hex(4)}" for _ in range(4)]  # twice as many as are pooled
        async with self.server.client() as client:
            answers = await asyncio.gather(
                *(client.post("/items", json={"name": name, "price": "1"}) for name in names)
            )
        assert [answer.status_code for answer in answers] == [201] * 4, self.log
        noise = [words for words in NEVER_IN_THE_LOG if words in self.log]
        assert not noise, self.log

    async def _until_zero(self, client: httpx2.AsyncClient, path: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while number := (await client.get(path)).json():
            assert time.monotonic() < deadline, f"{path}: {number}\n{self.log}"
            await asyncio.sleep(0.01)


@contextmanager
def open_store(backend: Backend, folder: Path, *, as_ordinary_user: bool = False) -> Generator[Store]:
    """Serve the whole application on a new database of *backend*, until the block ends.

    Args:
        backend: How the server reaches the database.
        folder: Where the log goes, and the file of SQLite.
        as_ordinary_user: Whether MariaDB's `read_only` is to stop the server, as it does not stop an administrator.
    """
    with ExitStack() as stack:
        url = stack.enter_context(new_database(backend.server, folder))
        witness = Witness(url)
        witness.create_tables()
        if as_ordinary_user:
            url = url.set(username=stack.enter_context(_ordinary_user(witness)))
        url = pooled(url).set(drivername=f"{url.get_backend_name()}+{backend.driver}")
        environment = {
            "LAYERED_TEST_URL": url.render_as_string(hide_password=False),
            "PYTHONWARNINGS": "default",
        }
        log_path = folder / "server.log"
        server = stack.enter_context(serving("tests.faults.whole_application:app", log_path, environment))
        yield Store(backend, server, witness)


@contextmanager
def _ordinary_user(witness: Witness) -> Generator[str]:
    name = f"layered_test_{secrets.token_hex(4)}"
    witness.run(f"CREATE USER {name}@'%'")
    try:
        witness.run(f"GRANT ALL ON {witness.url.database}.* TO {name}@'%'")
        yield name
    finally:
        witness.run(f"DROP USER {name}@'%'")
