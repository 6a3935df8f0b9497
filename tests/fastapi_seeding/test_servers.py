"""Seeding when real servers start: uvicorn, with its workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy
from sqlalchemy import URL, func, select

from tests.databases import MUST_HAVE_SERVERS, SERVERS, ServerMissingError, new_database
from tests.fastapi_seeding.seeders import ROWS
from tests.shop import Base, Category, Item

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORKERS = 4
TIME_LIMIT = 60  # seconds


@dataclass(frozen=True)
class Uvicorn:
    """A server, which ends with the block that started it.

    Attributes:
        process: The process, or the parent of its workers.
        log_path: What they print.
    """

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens; uvicorn has taken a free port."""
        return str(self.wait_for_lines(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")[0])

    def wait_for_lines(self, pattern: str, number: int = 1) -> list[Any]:
        """Wait until *number* lines of the log match, and return what their groups hold."""
        deadline = time.monotonic() + TIME_LIMIT
        while len(found := re.findall(pattern, self.log)) < number:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        return found

    def stop(self) -> None:
        """Stop it as an orchestrator does, and wait until it has ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIME_LIMIT)


@contextmanager
def uvicorn(url: URL, folder: Path, *options: str, **environment: str) -> Generator[Uvicorn]:
    """Start uvicorn over the database at *url*, on a free port of the loopback interface."""
    log_path = folder / "uvicorn.log"
    command = [sys.executable, "-m", "uvicorn", "tests.fastapi_seeding.served:app"]
    command += ["--host", "127.0.0.1", "--port", "0", *options]
    address = {"SEEDED_DATABASE_URL": url.render_as_string(hide_password=False)}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **address, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers can be ended with it
        )
    try:
        yield Uvicorn(process, log_path)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIME_LIMIT)


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """A database with the tables and no rows."""
    try:
        with new_database(request.param, tmp_path) as url:
            engine = sqlalchemy.create_engine(url)
            Base.metadata.create_all(engine)
            engine.dispose()
            yield url.set(drivername=url.get_backend_name())  # the asynchronous driver is chosen
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


def counts(url: URL) -> list[int]:
    """Return how many categories and how many items are stored."""
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
    engine = sqlalchemy.create_engine(url.set(drivername=drivers[url.get_backend_name()]))
    with engine.connect() as connection:
        stored = [connection.scalar(select(func.count()).select_from(model)) or 0 for model in (Category, Item)]
    engine.dispose()
    return stored


def test_of_four_workers_one_seeds_and_the_others_find_nothing_to_do(url: URL, tmp_path: Path) -> None:
    line = r"process (\d+) seeding: ItemSeeder: (\d+) inserted, 0 updated, (\d+) unchanged, 0 deleted"
    with uvicorn(url, tmp_path, "--workers", str(WORKERS), LAYERED_AUTO_SEED="wait") as server:
        reports = server.wait_for_lines(line, WORKERS)
        server.wait_for_lines("Application startup complete", WORKERS)
        answers = [httpx2.get(f"{server.url}/items", timeout=TIME_LIMIT).json() for _ in range(20)]
        ready = httpx2.get(f"{server.url}/health/ready", timeout=TIME_LIMIT)
        server.stop()

    assert len({process for process, *_ in reports}) == WORKERS
    assert sorted(inserted for _, inserted, _ in reports) == ["0"] * (WORKERS - 1) + [str(ROWS)]
    assert sorted(unchanged for *_, unchanged in reports) == ["0"] + [str(ROWS)] * (WORKERS - 1)
    assert answers == [ROWS] * 20
    assert ready.json() == {"status": "ready", "database": "up", "seeding": "done"}
    assert counts(url) == [1, ROWS]
    assert_nothing_was_complained_about(server)


def test_a_server_that_is_stopped_in_mid_seed_leaves_nothing_half_written(url: URL, tmp_path: Path) -> None:
    marker = tmp_path / "standing"
    environment = {"LAYERED_AUTO_SEED": "background", "SEEDED_MARKER": str(marker)}
    with uvicorn(url, tmp_path, **environment) as server:
        deadline = time.monotonic() + TIME_LIMIT
        while not marker.exists():
            assert time.monotonic() < deadline, server.log
            time.sleep(0.05)
        pending = httpx2.get(f"{server.url}/health/ready", timeout=TIME_LIMIT)
        alive = httpx2.get(f"{server.url}/health/live", timeout=TIME_LIMIT)
        server.stop()

    assert pending.status_code == 503
    assert pending.json() == {"status": "not ready", "database": "up", "seeding": "pending"}
    assert alive.status_code == 200
    assert "Application shutdown complete" in server.log
    assert counts(url) == [0, 0]
    assert_nothing_was_complained_about(server)


def test_a_server_does_not_start_when_seeding_fails(tmp_path: Path) -> None:
    nowhere = URL.create("sqlite", database=str(tmp_path / "nowhere" / "shop.db"))
    with uvicorn(nowhere, tmp_path, LAYERED_AUTO_SEED="wait") as server:
        status = server.process.wait(TIME_LIMIT)

    assert status != 0
    assert "seeding failed, and nothing was written: the database file cannot be opened" in server.log
    assert "Application startup complete" not in server.log


def assert_nothing_was_complained_about(server: Uvicorn) -> None:
    complaints = ("Traceback", "Error", "Warning", "never awaited", "was destroyed but it is pending")
    assert [each for each in complaints if each in server.log] == [], server.log
