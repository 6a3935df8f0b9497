"""A load on the executions: `python -m examples.executions.tests.load --database postgresql://postgres@127.0.0.1/load`.

It starts uvicorn on a free port of the loopback interface, in a database that it migrates and seeds, asks at a steady rate
for some time, and tells what was answered: statuses, times, the server's memory, and the connections that are left.
"""

import argparse
import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import text

from examples.executions.seeds.groups import PASSWORD
from layered_backend import Database

_ROOT = Path(__file__).parents[3]
_MIX = (("list", 30), ("get", 35), ("logs", 10), ("tools", 20), ("start", 5))  # of a hundred requests
TEXT = "Tea is made of leaves. Tea is drunk hot. It is 5 km to the tea shop, and a parcel of tea weighs 2 kg. " * 4

Ask = Callable[[], Awaitable[httpx2.Response]]


def main() -> int:
    """Run the load, and return 0 if no answer was a 5xx, memory has stayed, and no connection is left."""
    options = _parser().parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {**os.environ, "DATABASE_URL": options.database, "PORT": port, "PYTHONPATH": _paths()}
    environment.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    line = [sys.executable, "-m", "examples.executions"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            return asyncio.run(_measured(f"http://127.0.0.1:{port}", server.pid, options))
        finally:
            server.terminate()
            server.wait(30)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("--database", required=True, metavar="URL", help="an empty database, or one of an earlier load")
    parser.add_argument("--rate", type=int, default=200, help="requests a second (default: 200)")
    parser.add_argument("--seconds", type=int, default=60, help="for how long (default: 60)")
    return parser


def _paths() -> str:
    return os.pathsep.join([str(_ROOT), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")])


async def _measured(url: str, pid: int, options: argparse.Namespace) -> int:
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        await _started(client)
        token = await client.post("/login", data={"username": "north/ann", "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        load = _Load(client, (await client.get("/flows", params={"name": "Full report"})).json()["items"][0]["id"])
        await load.run(options.rate, seconds=3)  # until everything is imported and compiled
        before = _memory(pid)
        load.statuses = Counter()
        load.times = []
        memories = await load.run(options.rate, options.seconds, watch=lambda: _memory(pid))
        begun = time.perf_counter()
        await load.until_idle()
        print(f"the last execution ended {time.perf_counter() - begun:.1f} seconds after the last request")
        unfinished = [each for each in await load.newest() if each["status"] != "COMPLETED"]
    left = await _checked_out(options.database)
    return _told(load, before, memories, unfinished, left)


async def _started(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx2.TransportError):
                if (await client.get("/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


class _Load:
    """Requests at a steady rate, whether or not the last ones have been answered."""

    def __init__(self, client: httpx2.AsyncClient, plan_id: str) -> None:
        self._client = client
        self._body = {"kind": "flow", "plan_id": plan_id, "text": TEXT}
        self._ids: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []

    async def run(self, rate: int, seconds: int, watch: Callable[[], int] | None = None) -> list[int]:
        kinds = [kind for kind, share in _MIX for _ in range(share)]
        asks: dict[str, Ask] = {kind: getattr(self, f"_{kind}") for kind, _ in _MIX}
        begun, watched = time.perf_counter(), list[int]()
        async with asyncio.TaskGroup() as tasks:
            for number in range(rate * seconds):
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                tasks.create_task(self._asked(asks[kinds[number * 37 % 100]]))
                if watch is not None and number % (rate * 5) == 0:
                    watched.append(watch())
        return watched

    async def _asked(self, ask: Ask) -> None:
        begun = time.perf_counter()
        answer = await ask()
        self.times.append(time.perf_counter() - begun)
        self.statuses[answer.status_code] += 1

    def _list(self) -> Awaitable[httpx2.Response]:
        return self._client.get("/executions", params={"size": 20, "status": ["COMPLETED", "RUNNING"]})

    def _get(self) -> Awaitable[httpx2.Response]:
        return self._client.get(f"/executions/{self._ids[-1]}") if self._ids else self._list()

    def _logs(self) -> Awaitable[httpx2.Response]:
        return self._client.get(f"/executions/{self._ids[-1]}/logs") if self._ids else self._list()

    def _tools(self) -> Awaitable[httpx2.Response]:
        return self._client.get("/tools", params={"in_effect": True, "sort": "-name"})

    async def _start(self) -> httpx2.Response:
        answer = await self._client.post("/executions", json=self._body)
        if answer.status_code == 201:
            self._ids.append(answer.json()["id"])
        return answer

    async def newest(self) -> list[dict[str, Any]]:
        """Return the newest executions."""
        found: list[dict[str, Any]] = (await self._client.get("/executions", params={"size": 100})).json()["items"]
        return found

    async def until_idle(self) -> None:
        """Wait until no execution waits or runs."""
        async with asyncio.timeout(120):
            query: dict[str, Any] = {"status": ["PENDING", "RUNNING"], "size": 1}
            while (await self._client.get("/executions", params=query)).json()["items"]:  # noqa: ASYNC110  # a server
                await asyncio.sleep(0.5)


def _memory(pid: int) -> int:
    """Return how many KiB of memory a process has."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


async def _checked_out(url: str) -> int:
    """Return how many transactions are left open on the server; 0 where it cannot tell."""
    async with Database(url) as database:
        if database.url.get_backend_name() != "postgresql":
            return 0
        open_ones = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start < now()"
        )
        count: int = await database.read(lambda connection: connection.scalar(open_ones)) or 0
        return count


def _told(load: _Load, before: int, memories: Sequence[int], unfinished: Sequence[Any], left: int) -> int:
    times = sorted(load.times)
    percentiles = {share: round(times[int(len(times) * share / 100)] * 1000) for share in (50, 95, 99)}
    growth = memories[-1] - memories[len(memories) // 3]
    print(f"answers: {dict(load.statuses)}")
    print(f"milliseconds, of 50, 95 and 99 % of them: {percentiles}")
    print(f"memory in KiB: {before} before, then {list(memories)}; the last two thirds: {growth:+}")
    print(f"executions not completed among the newest 100: {len(unfinished)}; transactions left open: {left}")
    failed = any(status >= 500 for status in load.statuses) or unfinished or left or growth > 10 * 1024
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
