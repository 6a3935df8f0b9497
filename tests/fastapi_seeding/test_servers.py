"""Seeding when real servers start: uvicorn, with its workers."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import sqlalchemy
from sqlalchemy import URL, func, select

from tests.databases import MUST_HAVE_SERVERS, SERVERS, ServerMissingError, new_database
from tests.fastapi_seeding.seeders import ROWS
from tests.shop import Base, Category, Item
from tests.uvicorn_process import TIME_LIMIT, Uvicorn, uvicorn

pytestmark = pytest.mark.slow

WORKERS = 4


@contextmanager
def serving(url: URL, folder: Path, *options: str, **environment: str) -> Generator[Uvicorn]:
    """Start uvicorn over the database at *url*."""
    address = url.render_as_string(hide_password=False)
    application = "tests.fastapi_seeding.served:app"
    with uvicorn(application, folder, *options, SEEDED_DATABASE_URL=address, **environment) as server:
        yield server


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
    with serving(url, tmp_path, "--workers", str(WORKERS), LAYERED_AUTO_SEED="wait") as server:
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
    with serving(url, tmp_path, **environment) as server:
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
    with serving(nowhere, tmp_path, LAYERED_AUTO_SEED="wait") as server:
        status = server.process.wait(TIME_LIMIT)

    assert status != 0
    assert "seeding failed, and nothing was written: the database file cannot be opened" in server.log
    assert "Application startup complete" not in server.log


def assert_nothing_was_complained_about(server: Uvicorn) -> None:
    complaints = ("Traceback", "Error", "Warning", "never awaited", "was destroyed but it is pending")
    assert [each for each in complaints if each in server.log] == [], server.log
