"""Fixtures: the catalogue on each database, with no rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import URL, MetaData, make_url
from sqlalchemy.orm import DeclarativeBase

from layered_backend import Database
from tests.databases import ASYNC_BACKENDS, SYNC_BACKENDS, Servers
from tests.seeding import counted
from tests.seeding.catalogue import Base, Catalogue, DeferredBase


def create_tables(url: URL) -> None:
    """Make the tables of the catalogue anew."""
    engine = sqlalchemy.create_engine(url)
    for metadata in _metadata_of(engine.dialect.name):
        metadata.drop_all(engine)
        metadata.create_all(engine)
    engine.dispose()


def _metadata_of(server: str) -> Sequence[MetaData]:
    more: dict[str, tuple[type[DeclarativeBase], ...]] = {
        "sqlite": (DeferredBase,),
        "postgresql": (DeferredBase, counted.ServerBase, counted.PostgreSQLBase),
    }
    bases: tuple[type[DeclarativeBase], ...] = (Base, counted.Base, *more.get(server, (counted.ServerBase,)))
    return [base.metadata for base in bases]


@pytest.fixture(scope="session")
def catalogue_servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, _metadata_of)


@pytest.fixture(scope="session")
def catalogue_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite file with the tables of the catalogue, to be copied."""
    path = tmp_path_factory.mktemp("template") / "catalogue.db"
    create_tables(make_url(f"sqlite:///{path}"))
    return path.read_bytes()


@pytest.fixture(params=(*ASYNC_BACKENDS, *SYNC_BACKENDS), ids=str)
async def catalogue(
    request: pytest.FixtureRequest, tmp_path: Path, catalogue_servers: Servers, catalogue_template: bytes
) -> AsyncGenerator[Catalogue]:
    """The catalogue on each database, awaited and driven without an event loop; with two connections at most."""
    backend = request.param
    if backend.server == "sqlite":
        path = tmp_path / "catalogue.db"
        path.write_bytes(catalogue_template)
        url = make_url(f"sqlite:///{path}")
    else:
        url = catalogue_servers.url(backend.server)
    url = url.set(drivername=f"{url.get_backend_name()}+{backend.driver}")
    async with Database(url, pool_size=2, max_overflow=0) as database:
        catalogue = Catalogue(backend, database)
        catalogue.listen()
        yield catalogue
