"""Seeding when an application starts, in this process."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from layered_backend import Database, SeedError, SeedPlanError, SeedRunner, install
from tests.databases import Shop
from tests.fastapi_seeding.seeders import (
    ROWS,
    BrokenSeeder,
    CategorySeeder,
    ItemSeeder,
    SlowSeeder,
    application,
    client,
    count,
    started,
)
from tests.shop import Item, ShopUnitOfWork

SEEDERS = (ItemSeeder, CategorySeeder)
TIME_LIMIT = 30  # seconds


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAYERED_AUTO_SEED", "LAYERED_ENV"):
        monkeypatch.delenv(name, raising=False)


async def readiness(a_client: httpx2.AsyncClient) -> tuple[int, dict[str, str]]:
    answer = await a_client.get("/health/ready")
    return answer.status_code, answer.json()


@asynccontextmanager
async def _tables_made(database: Database) -> AsyncGenerator[None]:
    await database.create_all(Item.metadata)
    yield


async def wait_for_seeding(a_client: httpx2.AsyncClient) -> tuple[int, dict[str, str]]:
    async with asyncio.timeout(TIME_LIMIT):
        while (answer := await readiness(a_client))[1]["seeding"] == "pending":  # noqa: ASYNC110  # over HTTP there is no event
            await asyncio.sleep(0.01)  # seconds
    return answer


class TestWaiting:
    async def test_the_first_request_sees_the_rows(self, async_shop: Shop) -> None:
        async with started(application(async_shop.database, *SEEDERS, auto_seed="wait")) as a_client:
            assert (await a_client.get("/items")).json() == ROWS
            assert await readiness(a_client) == (200, {"status": "ready", "database": "up", "seeding": "done"})

    async def test_a_second_start_finds_nothing_to_do(
        self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = application(sqlite_shop.database, *SEEDERS, auto_seed="wait")
        async with started(app):
            pass

        with caplog.at_level(logging.INFO, "layered_backend"):
            async with started(app):
                pass

        assert caplog.messages == [
            "seeding: CategorySeeder: 0 inserted, 0 updated, 1 unchanged, 0 deleted",
            f"seeding: ItemSeeder: 0 inserted, 0 updated, {ROWS} unchanged, 0 deleted",
        ]

    async def test_the_applications_own_lifespan_comes_first_and_may_make_the_tables(self, tmp_path: Any) -> None:
        database = Database(f"sqlite:///{tmp_path / 'new.db'}")
        app = FastAPI(lifespan=lambda app: _tables_made(database))
        install(app, ShopUnitOfWork, database=database, seeds=SeedRunner(SEEDERS), auto_seed="wait")

        async with app.router.lifespan_context(app):
            assert await count(database) == (1, ROWS)

    async def test_the_applications_database_is_seeded_whichever_the_runner_names(
        self, sqlite_shop: Shop, tmp_path: Any
    ) -> None:
        elsewhere = Database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
        app = FastAPI()
        seeds = SeedRunner(SEEDERS, database=elsewhere)
        install(app, ShopUnitOfWork, database=sqlite_shop.database, seeds=seeds, auto_seed="wait")

        async with app.router.lifespan_context(app):
            assert await count(sqlite_shop.database) == (1, ROWS)
        assert not (tmp_path / "elsewhere.db").exists()

    async def test_a_failure_stops_the_start_where_it_is_strict(self, async_shop: Shop) -> None:
        app = application(async_shop.database, BrokenSeeder, *SEEDERS, auto_seed="wait")

        with pytest.raises(SeedError, match="seeding failed: BrokenSeeder: failed: BrokenSeeder, row 2, column nome"):
            async with started(app):
                pytest.fail("the application has started")

    async def test_a_failure_is_logged_and_told_where_it_is_not_strict(
        self, async_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = application(async_shop.database, BrokenSeeder, *SEEDERS, auto_seed="wait", strict=False)

        async with started(app) as a_client:
            answer = await readiness(a_client)
            assert (await a_client.get("/items")).json() == ROWS  # of the seeders that have not failed
            assert (await a_client.get("/health/live")).status_code == 200

        assert answer == (503, {"status": "not ready", "database": "up", "seeding": "failed"})
        assert _error_logged(caplog).startswith("seeding failed: BrokenSeeder: failed")

    async def test_a_run_that_failed_as_a_whole_is_told_once(self, tmp_path: Any) -> None:
        app = application(Database(f"sqlite:///{tmp_path / 'nowhere' / 'shop.db'}"), *SEEDERS, auto_seed="wait")

        with pytest.raises(SeedError, match=r"^seeding failed, and nothing was written: the database file cannot be"):
            async with started(app):
                pytest.fail("the application has started")

    async def test_seeders_that_do_not_fit_together_stop_the_start_too(self, sqlite_shop: Shop) -> None:
        with pytest.raises(SeedPlanError, match="CategorySeeder"):
            async with started(application(sqlite_shop.database, ItemSeeder, auto_seed="wait")):
                pytest.fail("the application has started")


class TestInTheBackground:
    async def test_readiness_says_pending_then_done(self, async_shop: Shop) -> None:
        SlowSeeder.prepare()
        app = application(async_shop.database, *SEEDERS, SlowSeeder, auto_seed="background")

        async with started(app) as a_client:
            at_once = await readiness(a_client)
            await asyncio.wait_for(SlowSeeder.is_standing.wait(), TIME_LIMIT)
            in_between = await readiness(a_client)
            items_in_between = (await a_client.get("/items")).json()
            SlowSeeder.goes_on.set()
            at_last = await wait_for_seeding(a_client)
            items_at_last = (await a_client.get("/items")).json()

        pending = {"status": "not ready", "database": "up", "seeding": "pending"}
        assert at_once == in_between == (503, pending)
        assert at_last == (200, {"status": "ready", "database": "up", "seeding": "done"})
        assert (items_in_between, items_at_last) == (0, ROWS)

    async def test_a_failure_is_logged_and_told_and_stops_nothing(
        self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with started(application(sqlite_shop.database, BrokenSeeder, auto_seed="background")) as a_client:
            answer = await wait_for_seeding(a_client)

        assert answer == (503, {"status": "not ready", "database": "up", "seeding": "failed"})
        assert _error_logged(caplog).startswith("seeding failed: BrokenSeeder: failed")

    async def test_a_stop_in_mid_seed_leaves_nothing_half_written_and_no_task(
        self, async_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        SlowSeeder.prepare()
        app = application(async_shop.database, *SEEDERS, SlowSeeder, auto_seed="background")

        async with asyncio.timeout(TIME_LIMIT):
            async with started(app):
                await SlowSeeder.is_standing.wait()

        assert [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        gc.collect()
        assert caplog.messages == []
        assert await count(async_shop.database) == (0, 0)
        SlowSeeder.goes_on.set()
        async with started(app) as a_client:  # the next start does it all
            assert (await wait_for_seeding(a_client))[0] == 200
        assert await count(async_shop.database) == (1 + 1001, ROWS)

    async def test_a_stop_while_another_process_seeds_does_not_wait_for_the_end_of_that(self, async_shop: Shop) -> None:
        """SQLite cannot be told to stop waiting for its lock, so there the stop takes the busy timeout at most."""
        SlowSeeder.prepare()
        another = SeedRunner((*SEEDERS, SlowSeeder)).run(database=async_shop.database)
        options: dict[str, Any] = {"connect_args": {"timeout": 1}} if async_shop.backend.server == "sqlite" else {}
        app = application(Database(async_shop.database.url, **options), *SEEDERS, auto_seed="background")

        async with asyncio.timeout(TIME_LIMIT), asyncio.TaskGroup() as tasks:
            report = tasks.create_task(another, name="another process")
            await SlowSeeder.is_standing.wait()
            async with started(app) as a_client:
                await asyncio.sleep(0.1)  # seconds; until it waits for the lock
                answer = await readiness(a_client)
            is_other_done = report.done()
            SlowSeeder.goes_on.set()

        assert answer == (503, {"status": "not ready", "database": "up", "seeding": "pending"})
        assert not is_other_done
        assert report.result().ok


class TestTheMode:
    async def test_it_is_off_unless_something_says_otherwise(self, sqlite_shop: Shop) -> None:
        async with started(application(sqlite_shop.database, *SEEDERS)) as a_client:
            assert await readiness(a_client) == (200, {"status": "ready", "database": "up", "seeding": "off"})
        assert await count(sqlite_shop.database) == (0, 0)

    @pytest.mark.parametrize(
        ("given", "environment", "rows"),
        [
            (None, "wait", ROWS),
            (None, "off", 0),
            (None, "", 0),
            ("off", "wait", 0),
            ("wait", "off", ROWS),
            ("wait", "nonsense", ROWS),
        ],
    )
    async def test_the_argument_goes_before_the_environment_which_is_read_at_the_start(
        self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch, given: Any, environment: str, rows: int
    ) -> None:
        app = application(sqlite_shop.database, *SEEDERS, auto_seed=given)
        monkeypatch.setenv("LAYERED_AUTO_SEED", environment)

        async with started(app):
            assert (await count(sqlite_shop.database))[1] == rows

    async def test_the_environment_may_say_background(self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LAYERED_AUTO_SEED", "background")

        async with started(application(sqlite_shop.database, *SEEDERS)) as a_client:
            at_once = await readiness(a_client)
            at_last = await wait_for_seeding(a_client)

        assert (at_once[1]["seeding"], at_last[1]["seeding"]) == ("pending", "done")

    def test_an_unknown_argument_is_refused_at_once(self, sqlite_shop: Shop) -> None:
        message = "^auto_seed is 'yes'; it must be one of off, wait, background$"
        with pytest.raises(ValueError, match=message):
            application(sqlite_shop.database, *SEEDERS, auto_seed="yes")

    async def test_an_unknown_environment_is_refused_at_the_start(
        self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAYERED_AUTO_SEED", "yes")

        with pytest.raises(ValueError, match=r"^LAYERED_AUTO_SEED is 'yes'; it must be one of off, wait, background$"):
            async with started(application(sqlite_shop.database, *SEEDERS)):
                pytest.fail("the application has started")

    @pytest.mark.parametrize("mode", ["wait", "background"])
    def test_seeding_nothing_is_refused(self, sqlite_shop: Shop, mode: Any) -> None:
        with pytest.raises(ValueError, match=r"nothing to seed; write install\(\.\.\., seeds=seeds\)"):
            install(FastAPI(), ShopUnitOfWork, database=sqlite_shop.database, auto_seed=mode)

    async def test_an_application_without_seeds_does_not_mind_the_environment(
        self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAYERED_AUTO_SEED", "wait")
        app = FastAPI()
        install(app, ShopUnitOfWork, database=sqlite_shop.database)

        async with app.router.lifespan_context(app):
            pass

    async def test_before_the_start_seeding_is_pending(self, sqlite_shop: Shop) -> None:
        async with client(application(sqlite_shop.database, *SEEDERS, auto_seed="wait")) as a_client:
            assert (await readiness(a_client))[1]["seeding"] == "pending"


def _error_logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return the message of the error that was logged with its traceback, which is the only one."""
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "seeding failed; the application goes on without the rows, and is not ready"
    assert record.exc_info is not None
    return str(record.exc_info[1])
