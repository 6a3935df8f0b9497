"""Processes that seed at the same time: one seeds, the others find nothing to do, and a killed one leaves nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import URL, func, insert, make_url, select
from sqlalchemy.orm import Session

from tests.databases import Servers
from tests.faults.clients import Client, clients
from tests.seeding.catalogue import Badge, Base, Category, Label, Node, Product
from tests.seeding.conftest import create_tables
from tests.seeding.workers import ROWS, SEEDERS

pytestmark = pytest.mark.slow

PROCESSES = 8
ROUNDS = 10
TOTAL = ROWS * len(SEEDERS)
DRIVERS = {
    "sqlite": [("sqlite+aiosqlite", "seed"), ("sqlite+pysqlite", "seed_sync")],
    "postgresql": [("postgresql+asyncpg", "seed"), ("postgresql+psycopg", "seed"), ("postgresql+psycopg", "seed_sync")],
    "mariadb": [("mariadb+asyncmy", "seed"), ("mariadb+pymysql", "seed_sync")],
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    with clients(PROCESSES, tmp_path_factory.mktemp("workers"), "tests.seeding.workers") as processes:
        yield processes


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path, catalogue_servers: Servers) -> URL:
    if request.param != "sqlite":
        return catalogue_servers.url(request.param)
    url = make_url(f"sqlite:///{tmp_path / 'catalogue.db'}")
    create_tables(url)
    return url


def begin(process: Client, index: int, url: URL, task: str | None = None, **arguments: str) -> None:
    drivers = DRIVERS[url.get_backend_name()]
    driver, usual_task = drivers[index % len(drivers)]
    text = url.set(drivername=driver).render_as_string(hide_password=False)
    process.begin(task or usual_task, url=text, **arguments)


def assert_each_row_is_there_once(engine: sqlalchemy.Engine) -> None:
    with Session(engine) as session:
        for model, key in (
            (Category, (Category.name,)),
            (Product, (Product.name,)),
            (Label, (Label.scope, Label.text)),
            (Badge, (Badge.scope, Badge.text)),
            (Node, (Node.parent_id, Node.name)),
        ):
            keys: list[Any] = list(key)
            counts = session.scalars(select(func.count()).select_from(model).group_by(*keys)).all()
            assert counts == [1] * ROWS, model


def assert_the_applications_next_insert_works(engine: sqlalchemy.Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(insert(Product), [{"name": "of a user", "price": 1}])


def test_eight_at_once_write_each_row_once(processes: list[Client], url: URL) -> None:
    engine = sqlalchemy.create_engine(url)
    for _ in range(ROUNDS):
        with Session(engine) as session, session.begin():
            session.execute(sqlalchemy.update(Node).values(parent_id=None))
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())

        for index, process in enumerate(processes):
            begin(process, index, url)
        results = [process.result() for process in processes]

        assert [result["errors"] for result in results] == [[]] * PROCESSES
        assert sorted(result["inserted"] for result in results) == [0] * (PROCESSES - 1) + [TOTAL]
        assert sorted(result["unchanged"] for result in results) == [0] + [TOTAL] * (PROCESSES - 1)
        assert_each_row_is_there_once(engine)
        assert_the_applications_next_insert_works(engine)
    engine.dispose()


def test_one_that_is_killed_leaves_nothing_and_the_next_completes_the_job(url: URL, tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(url)
    marker = tmp_path / "written"
    with clients(4, tmp_path, "tests.seeding.workers") as processes:
        victim, *others = processes
        begin(victim, 0, url, "seed_and_stop", marker=str(marker))
        deadline = time.monotonic() + 30
        while not marker.exists():
            assert time.monotonic() < deadline, victim.log
            time.sleep(0.01)
        for index, process in enumerate(others):
            begin(process, index, url)

        victim.process.kill()
        results = [process.result() for process in others]

    assert [result["errors"] for result in results] == [[]] * 3
    assert sorted(result["inserted"] for result in results) == [0, 0, TOTAL]
    assert_each_row_is_there_once(engine)
    assert_the_applications_next_insert_works(engine)
    engine.dispose()
