"""Guarantee 14: processes that write, create the tables and seed at the same time lose nothing and double nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.orm import Session

from tests.databases import new_database
from tests.faults.clients import Client, clients
from tests.faults.clusters import or_skip
from tests.shop import Base, Document, Meter

WRITERS, READERS = 8, 4
INCREMENTS = 25
ROUNDS = 5
TABLES = {
    mapper.class_.__tablename__ for mapper in Base.registry.mappers if mapper.class_.__module__ == Base.__module__
}
TITLES = [f"title {number}" for number in range(30)]
DRIVERS = {
    "sqlite": ("sqlite+aiosqlite",),
    "postgresql": ("postgresql+asyncpg", "postgresql+psycopg"),
    "mariadb": ("mariadb+asyncmy",),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    with clients(WRITERS + READERS, tmp_path_factory.mktemp("clients")) as processes:
        yield processes


@contextmanager
def opened(url: URL) -> Generator[Engine]:
    engine = sqlalchemy.create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def at_once(processes: list[Client], task: str, url: URL, **arguments: object) -> list[object]:
    """Let each of the first eight processes do *task*, by the drivers of the database in turn; return their results."""
    drivers = DRIVERS[url.get_backend_name()]
    writers = processes[:WRITERS]
    for index, writer in enumerate(writers):
        driver = drivers[index % len(drivers)]
        writer.begin(task, url=url.set(drivername=driver).render_as_string(hide_password=False), **arguments)
    return [writer.result() for writer in writers]


def test_on_sqlite_no_increment_is_lost_beside_readers_and_nobody_is_told_of_a_lock(
    processes: list[Client], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with opened(make_url(url)) as engine:
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.add(Meter(serial=1, reading=0))
    total = WRITERS * INCREMENTS

    for index, process in enumerate(processes):
        if index < READERS:
            process.begin("watch", url=url, until=total, seconds=30)
        else:
            process.begin("increment" if index % 2 else "increment_sync", url=url, times=INCREMENTS)
    seen = [process.result() for process in processes][:READERS]

    assert [readings[-1] for readings in seen] == [total] * READERS
    assert all(readings == sorted(readings) for readings in seen)
    assert "".join(process.log for process in processes) == ""


@pytest.mark.parametrize("server", DRIVERS)
def test_the_tables_are_created_once(processes: list[Client], server: str, tmp_path: Path) -> None:
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with or_skip(), new_database(server, folder) as url:
            at_once(processes, "create_all", url)
            with opened(url) as engine:
                assert set(sqlalchemy.inspect(engine).get_table_names()) == TABLES

    assert "".join(process.log for process in processes) == ""


@pytest.mark.parametrize("server", DRIVERS)
def test_no_row_is_seeded_twice(processes: list[Client], server: str, tmp_path: Path) -> None:
    with or_skip(), new_database(server, tmp_path) as url, opened(url) as engine:
        Base.metadata.create_all(engine)
        for _ in range(ROUNDS):
            with Session(engine) as session, session.begin():
                session.query(Document).delete()

            inserted = at_once(processes, "seed", url, titles=TITLES)

            with Session(engine) as session:
                titles = Counter(session.scalars(sqlalchemy.select(Document.title)))
            assert titles == Counter(TITLES)
            assert sorted(inserted, key=str) == [0] * (WRITERS - 1) + [len(TITLES)]

    assert "".join(process.log for process in processes) == ""
