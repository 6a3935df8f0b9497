"""Processes that work on a database beside each other, each doing what it is told, a line of JSON at a time.

python -m tests.faults.clients
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select as select_rows
from sqlalchemy.orm import Session

from layered_backend import Database
from tests.shop import Base, Document, ShopUnitOfWork

__all__ = ["Client", "clients", "work"]

_ROOT = Path(__file__).parents[2]
_TIME_LIMIT = 60  # seconds, for one task


@dataclass(frozen=True)
class Client:
    """A process that waits for a task. Lives as long as the block of `clients`.

    Attributes:
        process: The process, which ends when its standard input does.
        log_path: What it wrote to standard error.
    """

    process: subprocess.Popen[str]
    log_path: Path

    def begin(self, task: str, **arguments: Any) -> None:
        """Tell it to do one of the tasks below."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """Wait for the end of its task, and return what that returned; what it raised fails the test, with its log."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], _TIME_LIMIT)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}") if readable else {}
        assert "result" in answer, f"{answer.get('error', 'no answer')}\n{self.log}"
        return answer["result"]

    def end(self) -> None:
        """Tell it that there is nothing more to do."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


@contextmanager
def clients(number: int, folder: Path, module: str = "tests.faults.clients") -> Generator[list[Client]]:
    """Start *number* processes that are ready to work, so that what they are told next they begin at the same time.

    Each runs *module*, which ends with a call of `work`.
    """
    with ExitStack() as stack:
        started = [stack.enter_context(_client(folder / f"client_{index}.log", module)) for index in range(number)]
        for client in started:
            client.begin("wait")
        for client in started:
            client.result()
        try:
            yield started
        finally:
            for client in started:  # so that they end beside each other too
                client.end()


@contextmanager
def _client(log_path: Path, module: str) -> Generator[Client]:
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        client = Client(process, log_path)
        try:
            yield client
        finally:
            client.end()
            _wait_for_the_end(process)


def _wait_for_the_end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


async def wait() -> int:
    return os.getpid()


async def create_all(url: str) -> None:
    async with Database(url) as database:
        await database.create_all(Base.metadata)


async def seed(url: str, titles: list[str]) -> int:
    """Insert the documents that are not there yet, looking first, under a lock; return how many those were."""
    async with Database(url) as database, ShopUnitOfWork(database) as uow:

        def insert_missing(session: Session) -> int:
            database.dialect.locks.lock(session.connection(), "seed")
            present = set(session.scalars(select_rows(Document.title)))
            missing = [title for title in titles if title not in present]
            session.add_all(Document(title=title) for title in missing)
            session.flush()
            return len(missing)

        inserted = await uow.session.run_sync(insert_missing)
        await uow.documents.count()  # whatever else the transaction does before it ends
        return inserted


async def increment(url: str, times: int) -> None:
    """Read the meter 1, add one and write it, in as many units of work as *times*."""
    async with Database(url) as database:
        for _ in range(times):
            async with ShopUnitOfWork(database) as uow:
                meter = await uow.meters.get(1)
                await uow.meters.update(meter, {"reading": meter.reading + 1})


async def increment_sync(url: str, times: int) -> None:
    """Do what `increment` does, without an event loop."""

    def increment_often() -> None:
        with Database(url) as database:
            for _ in range(times):
                with ShopUnitOfWork(database) as uow:
                    meter = uow.run(uow.meters.get(1))
                    uow.run(uow.meters.update(meter, {"reading": meter.reading + 1}))

    await asyncio.to_thread(increment_often)


async def watch(url: str, until: int, seconds: float) -> list[int]:
    """Read the meter 1 until it shows *until*, or for so many *seconds*; return what was read, each value once."""
    seen: list[int] = []
    deadline = time.monotonic() + seconds
    async with Database(url) as database:
        while time.monotonic() < deadline and seen[-1:] != [until]:
            async with ShopUnitOfWork(database, read_only=True) as uow:
                reading = (await uow.meters.get(1)).reading
            if seen[-1:] != [reading]:
                seen.append(reading)
    return seen


def work(*tasks: Callable[..., Coroutine[Any, Any, Any]]) -> None:
    """Do one task after the other, as standard input tells, until that ends."""
    by_name = {task.__name__: task for task in (wait, *tasks)}
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            answer["result"] = asyncio.run(by_name[order.pop("task")](**order))
        except Exception:  # noqa: BLE001  # whatever it is, the test is to see it
            answer["error"] = traceback.format_exc()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    work(create_all, seed, increment, increment_sync, watch)
