"""The executions on SQLite: migrated and seeded once; each test has them in a transaction that is rolled back."""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import MetaData

from examples.executions.__main__ import MIGRATIONS
from examples.executions.application import create_app
from examples.executions.models import Table
from examples.executions.seeds import seeds
from examples.executions.seeds.groups import PASSWORD
from examples.executions.settings import ExecutionsSettings
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Database, background_idle
from layered_backend.migrations import upgrade_sync

Login = Callable[[str], Awaitable[Mapping[str, str]]]
Run = Callable[..., Awaitable[dict[str, Any]]]


def filled(database: Database) -> None:
    """Migrate and seed a database."""

    async def seed() -> None:
        async with database:
            report = await seeds.run(database=database, environment="test")
            assert report.ok, report

    upgrade_sync(database, folder=MIGRATIONS)
    asyncio.run(seed())


@pytest.fixture(scope="session")
def seeded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated and seeded database, in which nothing is committed."""
    path = tmp_path_factory.mktemp("seeded") / "executions.db"
    filled(Database(f"sqlite:///{path}"))
    return path


@pytest.fixture
def own_file(seeded_file: Path, tmp_path: Path) -> Path:
    """The file of a migrated and seeded database, for one test."""
    return Path(shutil.copy(seeded_file, tmp_path))


@pytest.fixture(scope="session")
def settings() -> ExecutionsSettings:
    """The settings of the application, with a key of their own."""
    return ExecutionsSettings.model_validate({"secret_key": secrets.token_urlsafe(48), "step_limit": 5})


@pytest.fixture(scope="session")
def unit_of_work_class() -> type[ExecutionsUnitOfWork]:
    """What the plugin's fixtures open."""
    return ExecutionsUnitOfWork


@pytest.fixture(scope="session")
def metadata() -> MetaData:
    """The tables that the plugin's fixtures work with."""
    return Table.metadata


@pytest.fixture(scope="session")
def prepared_database(seeded_file: Path) -> Generator[Database]:
    """Where the plugin's fixtures work."""
    with Database(f"sqlite:///{seeded_file}") as database:
        yield database


@pytest.fixture(scope="session")
def app(settings: ExecutionsSettings, prepared_database: Database) -> FastAPI:
    """The application of the plugin's `client`."""
    return create_app(settings, prepared_database)


async def logged_in(client: httpx2.AsyncClient, name: str) -> Mapping[str, str]:
    """Return the header that a member of a demonstration group sends."""
    answer = await client.post("/login", data={"username": name, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture
def login(client: httpx2.AsyncClient) -> Login:
    """What logs a member in, by `group/name`, and returns the header to send."""
    return lambda name: logged_in(client, name)


@pytest.fixture
def run(client: httpx2.AsyncClient, app: FastAPI) -> Run:
    """What starts an execution of the named crew or flow, waits for its end, and returns it."""

    async def run(headers: Mapping[str, str], plan: str, text: str, kind: str = "crew") -> dict[str, Any]:
        plans = (await client.get(f"/{kind}s", params={"name": plan, "in_effect": True}, headers=headers)).json()
        body = {"kind": kind, "plan_id": plans["items"][0]["id"], "text": text}
        created = await client.post("/executions", json=body, headers=headers)
        assert created.status_code == 201, created.text
        await background_idle(app)
        execution: dict[str, Any] = (await client.get(created.headers["Location"], headers=headers)).json()
        return execution

    return run
