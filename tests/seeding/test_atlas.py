"""The atlas, some 13,000 rows in a tree and three tables, on each database: what a second run costs, and changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import URL, select, update

from examples.atlas.models import Country, Currency, Language, Subdivision
from examples.atlas.seeds import seeds
from layered_backend import Database, UnitOfWork
from tests.databases import ASYNC_BACKENDS, MUST_HAVE_SERVERS, SYNC_BACKENDS, ServerMissingError, new_database
from tests.seeding.catalogue import Catalogue

pytestmark = pytest.mark.slow

ROWS = 13_396
TIMESTAMPED: tuple[Any, ...] = (Country, Subdivision)
MODELS: tuple[Any, ...] = (*TIMESTAMPED, Currency, Language)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture(params=(*ASYNC_BACKENDS, *SYNC_BACKENDS), ids=str)
async def atlas(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncGenerator[Catalogue]:
    """A database with the tables of the atlas and no rows."""
    try:
        with new_database(request.param.server, tmp_path) as url:
            async with Database(_driven(url, request.param.driver), pool_size=2, max_overflow=0) as database:
                create = database.create_all if request.param.asynchronous else _in_thread(database.create_all_sync)
                await create(Country.metadata)
                atlas = Catalogue(request.param, database)
                atlas.listen()
                yield atlas
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


async def test_a_second_run_changes_nothing_writes_nothing_and_reads_little(atlas: Catalogue) -> None:
    first = await atlas.run(seeds, database=atlas.database)
    await atlas.do(_date_back)
    before = await _stored(atlas)

    second = await atlas.run(seeds, database=atlas.database)
    statements = atlas.statements
    reads, writes = len(statements.reads), statements.writes

    assert (first.ok, sum(result.inserted for result in first.results)) == (True, ROWS)
    assert (second.ok, sum(result.unchanged for result in second.results)) == (True, ROWS)
    assert writes == []
    assert 0 < reads <= 2 * ROWS / 1000
    assert await _stored(atlas) == before
    assert {row.updated_at for model in TIMESTAMPED for row in before[model]} == {LONG_AGO}


async def _date_back(uow: UnitOfWork) -> None:
    """Set the times back, so that a row that is written in the same moment is seen too."""
    for model in TIMESTAMPED:
        await uow.session.execute(update(model).values(updated_at=LONG_AGO))


async def _stored(atlas: Catalogue) -> dict[Any, list[Any]]:
    """Return all rows of all tables, with all their columns."""

    async def read(uow: UnitOfWork) -> dict[Any, list[Any]]:
        rows: dict[Any, list[Any]] = {}
        for model in MODELS:
            table = model.__table__
            rows[model] = list(await uow.session.execute(select(table).order_by(*table.primary_key)))
        return rows

    return dict(await atlas.do(read))


def _driven(url: URL, driver: str) -> URL:
    return url.set(drivername=f"{url.get_backend_name()}+{driver}")


def _in_thread(create: Any) -> Any:
    async def create_in_thread(metadata: Any) -> None:
        await asyncio.to_thread(create, metadata)

    return create_in_thread
