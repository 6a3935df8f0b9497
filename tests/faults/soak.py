"""A long mixture of requests to a real server, and an account of what became of each.

    python -m tests.faults.soak --database postgresql --requests 20000

It ends with 0 where every write that was acknowledged is there exactly once, no other write is, nothing is checked out,
no transaction is open and the server's log holds no error; else with 1, and the differences.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import sqlalchemy
from sqlalchemy import URL, make_url, select

from tests.databases import own_database
from tests.faults.serving import Server, serving
from tests.faults.soundness import assert_nothing_open
from tests.shop import Base, Document, Item

__all__ = ["Account", "soak"]

_SIGNS_OF_TROUBLE = ("Traceback", "ERROR", "never retrieved", "was destroyed", "Warning", "non-checked-in")
_DRAIN_DEADLINE = 30  # seconds


class Fate(StrEnum):
    """What a request's answer says of its write."""

    SAVED = "saved"
    NOT_SAVED = "not saved"
    UNKNOWN = "unknown"
    """Its client left before the answer: it is there whole, or not at all."""


@dataclass
class Account:
    """What was asked, what was answered, and what was found.

    Attributes:
        requests: How many requests of each kind were sent.
        statuses: How many answers had each status; 0 for a client that left.
        fates: What each key's rows must be.
        differences: What is not as it must be; empty where all is well.
    """

    requests: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    fates: dict[str, Fate] = field(default_factory=dict[str, Fate])
    differences: list[str] = field(default_factory=list[str])

    def settle(self, url: URL, server: Server) -> None:
        """Compare with the rows in the database, and with what the server printed."""
        items, documents = _rows(url)
        for key in {*items, *documents, *self.fates}:
            found, fate = (items[key], documents[key]), self.fates.get(key, Fate.NOT_SAVED)
            allowed = {Fate.SAVED: [(1, 1)], Fate.NOT_SAVED: [(0, 0)], Fate.UNKNOWN: [(0, 0), (1, 1)]}[fate]
            if found not in allowed:
                self.differences.append(f"{key}: {fate}, but {found[0]} and {found[1]} rows were found")
        self.differences += [
            f"in the log: {line}" for line in server.log.splitlines() if any(sign in line for sign in _SIGNS_OF_TROUBLE)
        ]

    def __str__(self) -> str:
        fates = Counter(self.fates.values())
        lines = [
            f"requests     {self.requests.total()}: {_listed(self.requests)}",
            f"answers      {_listed(self.statuses)} (0: the client left)",
            f"writes       {_listed(fates)}",
            f"differences  {len(self.differences)}",
            *self.differences[:20],
        ]
        return "\n".join(lines)


def _listed(counter: Counter[str] | Counter[int] | Counter[Fate]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


def _rows(url: URL) -> tuple[Counter[str], Counter[str]]:
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        items = Counter(connection.scalars(select(Item.name)))
        documents = Counter(connection.scalars(select(Document.title)))
    engine.dispose()
    return items, documents


class _Client:
    """Sends one kind of request after another, drawn by chance, and keeps the account."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, account: Account, chance: random.Random) -> None:
        self._server = server
        self._http = http
        self._account = account
        self._chance = chance
        self._kinds: dict[str, tuple[int, Callable[[str], Awaitable[None]]]] = {
            "write": (30, self._write),
            "read": (20, self._read),
            "conflict": (10, self._conflict),
            "refused": (8, self._refused),
            "background": (8, self._background),
            "stream": (6, self._stream),
            "cancelled on the server": (10, self._cancelled),
            "aborted": (8, self._aborted),
        }

    async def send(self, number: int) -> None:
        kinds = list(self._kinds)
        (kind,) = self._chance.choices(kinds, [self._kinds[name][0] for name in kinds])
        self._account.requests[kind] += 1
        await self._kinds[kind][1](f"key-{number}")

    async def _post(self, path: str, key: str) -> httpx2.Response:
        response = await self._http.post(f"/pairs/{path}")
        self._account.statuses[response.status_code] += 1
        self._account.fates[key] = Fate.SAVED if response.is_success else Fate.NOT_SAVED
        return response

    async def _write(self, key: str) -> None:
        await self._post(key, key)

    async def _refused(self, key: str) -> None:
        await self._post(f"{key}/refused", key)

    async def _background(self, key: str) -> None:
        response = await self._post(f"{key}/background", key)
        if response.is_success:
            self._account.fates[f"{key}-background"] = Fate.SAVED

    async def _conflict(self, key: str) -> None:
        """Write the same key twice at once: one of them is saved."""
        answers = await asyncio.gather(*(self._http.post(f"/pairs/{key}") for _ in range(2)))
        statuses = sorted(answer.status_code for answer in answers)
        self._account.statuses.update(statuses)
        self._account.fates[key] = Fate.SAVED if 201 in statuses else Fate.NOT_SAVED
        if statuses.count(201) > 1:
            self._account.differences.append(f"{key}: acknowledged twice")

    async def _cancelled(self, key: str) -> None:
        microseconds = self._chance.randrange(6000)
        response = await self._post(f"{key}/cancelled?microseconds={microseconds}", key)
        self._account.fates[key] = Fate.SAVED if response.json() == "committed" else Fate.NOT_SAVED

    async def _read(self, key: str) -> None:
        saved = [known for known, fate in self._account.fates.items() if fate is Fate.SAVED][-50:]
        asked = self._chance.choice([*saved, key])
        response = await self._http.get(f"/pairs/{asked}")
        self._account.statuses[response.status_code] += 1
        is_background = asked.endswith("-background")  # which may be on its way
        if response.status_code == 200 and asked in saved and not is_background and response.json() is not True:
            self._account.differences.append(f"{asked}: acknowledged, and not to be read afterwards")

    async def _stream(self, key: str) -> None:
        response = await self._http.get("/pairs")
        self._account.statuses[response.status_code] += 1

    async def _aborted(self, key: str) -> None:
        """Send a write, or ask for a stream, and leave before the answer."""
        address = urlsplit(self._server.url)
        is_write = self._chance.random() < 0.7
        line = f"POST /pairs/{key}" if is_write else "GET /pairs"
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"{line} HTTP/1.1\r\nHost: soak\r\nContent-Length: 0\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await asyncio.sleep(self._chance.random() * 0.01)
            writer.transport.abort()
        self._account.statuses[0] += 1
        if is_write:
            self._account.fates[key] = Fate.UNKNOWN


async def _send_all(server: Server, requests: int, concurrency: int, seed: int, deadline: float) -> Account:
    account, chance, numbers = Account(), random.Random(seed), iter(range(requests))  # noqa: S311  # no secret
    async with server.client(connections=2 * concurrency) as http, asyncio.timeout(deadline):
        client = _Client(server, http, account, chance)

        async def send_some() -> None:
            for number in numbers:
                await client.send(number)

        await asyncio.gather(*(send_some() for _ in range(concurrency)))
        await _wait_until_drained(http, account)
    return account


async def _wait_until_drained(http: httpx2.AsyncClient, account: Account) -> None:
    """Wait for the background tasks and for what aborted clients left at work."""
    quiet, until = 0, time.monotonic() + _DRAIN_DEADLINE
    while quiet < 10 and time.monotonic() < until:
        checked_out = (await http.get("/pairs-checked-out")).json()
        quiet = quiet + 1 if checked_out == 0 else 0
        await asyncio.sleep(0.05)
    if quiet < 10:
        account.differences.append("a connection is still checked out")


def soak(url: URL, log_path: Path, *, requests: int, concurrency: int = 16, seed: int = 1, deadline: float) -> Account:
    """Send *requests* requests to a server on the database at *url*, which has the tables of the test domain, and settle.

    Args:
        url: A synchronous URL of the database.
        log_path: Where the server's output goes.
        requests: How many.
        concurrency: How many at once.
        seed: What chance begins with.
        deadline: Seconds after which it fails.
    """
    plain = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    with serving("tests.faults.soak_application:app", log_path, {"LAYERED_TEST_URL": plain}) as server:
        account = asyncio.run(_send_all(server, requests, concurrency, seed, deadline))
        try:
            assert_nothing_open(url.get_backend_name(), url)
        except AssertionError as error:
            account.differences.append(str(error))
    account.settle(url, server)
    return account


@contextlib.contextmanager
def _database(server: str, folder: Path) -> Generator[URL]:
    if server == "sqlite":
        yield make_url(f"sqlite:///{folder / 'soak.db'}")
        return
    with own_database(server) as url:
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "mariadb"], default="sqlite")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=1200, help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _database(given.database, Path(folder)) as url:
        engine = sqlalchemy.create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
        began = time.monotonic()
        account = soak(
            url,
            Path(folder) / "server.log",
            requests=given.requests,
            concurrency=given.concurrency,
            seed=given.seed,
            deadline=given.deadline,
        )
        print(f"{given.database}, {time.monotonic() - began:.0f} s\n{account}")
    sys.exit(1 if account.differences else 0)


if __name__ == "__main__":
    main()
