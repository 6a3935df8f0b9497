"""A project with an empty database, on each server and on SQLite alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import MUST_HAVE_SERVERS, ServerMissingError
from tests.migrations.projects import SERVERS, Project, project_on


def _project(server: str, tmp_path: Path) -> Iterator[Project]:
    try:
        with project_on(server, tmp_path) as project:
            yield project
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


@pytest.fixture(params=SERVERS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    yield from _project(request.param, tmp_path)


@pytest.fixture
def sqlite_project(tmp_path: Path) -> Iterator[Project]:
    yield from _project("sqlite", tmp_path)


@pytest.fixture
def postgresql_project(tmp_path: Path) -> Iterator[Project]:
    yield from _project("postgresql", tmp_path)


@pytest.fixture
def mariadb_project(tmp_path: Path) -> Iterator[Project]:
    yield from _project("mariadb", tmp_path)
