"""Fixtures: the catalogue on each database, with no rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import URL, make_url

from layered_backend import Database
from tests.databases import ASYNC_BACKENDS, MUST_HAVE_SERVERS, SYNC_BACKENDS, ServerMissingError, own_database
from tests.seeding.catalogue import Base, Catalogue, DeferredBase


class CatalogueServers:
    """The databases of these tests' own, each made when a test first asks for it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._urls: dict[str, URL] = {}

    def url(self, server: str) -> URL:
        """Return the URL of a database on *server* with new tables and no rows; skip or fail without the server."""
        if server not in self._urls:
            try:
                self._urls[server] = self._stack.enter_context(own_database(server))
            except ServerMissingError as error:
                (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))
        create_tables(self._urls[server])
        return self._urls[server]


def create_tables(url: URL) -> None:
    """Make the tables of the catalogue anew."""
    engine = sqlalchemy.create_engine(url)
    has_deferred = engine.dialect.name not in {"mysql", "mariadb"}
    for base in (Base, DeferredBase) if has_deferred else (Base,):
        base.metadata.drop_all(engine)
        base.metadata.create_all(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def catalogue_servers() -> Iterator[CatalogueServers]:
    with ExitStack() as stack:
        yield CatalogueServers(stack)


@pytest.fixture(params=(*ASYNC_BACKENDS, *SYNC_BACKENDS), ids=str)
async def catalogue(
    request: pytest.FixtureRequest, tmp_path: Path, catalogue_servers: CatalogueServers
) -> AsyncGenerator[Catalogue]:
    """The catalogue on each database, awaited and driven without an event loop; with two connections at most."""
    backend = request.param
    if backend.server == "sqlite":
        url = make_url(f"sqlite:///{tmp_path / 'catalogue.db'}")
        create_tables(url)
    else:
        url = catalogue_servers.url(backend.server)
    url = url.set(drivername=f"{url.get_backend_name()}+{backend.driver}")
    async with Database(url, pool_size=2, max_overflow=0) as database:
        catalogue = Catalogue(backend, database)
        catalogue.listen()
        yield catalogue
