"""The atlas on SQLite: seeded once; each test has it in a transaction that is rolled back."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx2
import pytest

from examples.atlas.application import create_app
from examples.atlas.seeds import seeds
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import Database


@pytest.fixture(scope="session")
def loaded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a loaded atlas, in which nothing is committed."""
    path = tmp_path_factory.mktemp("loaded") / "atlas.db"

    async def load() -> None:
        async with Database(f"sqlite:///{path}") as database:
            await database.create_all()
            assert (await seeds.run(database=database)).ok

    asyncio.run(load())
    return path


@pytest.fixture
def atlas_file(loaded_file: Path, tmp_path: Path) -> Path:
    """The file of a loaded atlas, for one test."""
    return Path(shutil.copy(loaded_file, tmp_path))


@pytest.fixture(scope="session")
def unit_of_work_class() -> type[AtlasUnitOfWork]:
    """What the plugin's fixtures open."""
    return AtlasUnitOfWork


@pytest.fixture(scope="session")
def prepared_database(loaded_file: Path) -> Generator[Database]:
    """Where the plugin's fixtures work: the loaded atlas."""
    with Database(f"sqlite:///{loaded_file}") as database:
        yield database


@pytest.fixture
async def atlas(database: Database) -> Database:
    """The database of a loaded atlas, for one test."""
    return database


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncGenerator[Database]:
    """A database with the tables of the atlas, and no rows."""
    async with Database(f"sqlite:///{tmp_path}/empty.db") as database:
        await database.create_all()
        yield database


@pytest.fixture
async def client(atlas: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of the application over a loaded atlas."""
    transport = httpx2.ASGITransport(create_app(atlas))
    async with httpx2.AsyncClient(transport=transport, base_url="http://atlas") as client:
        yield client
