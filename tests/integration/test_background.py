"""Work after the commit, in tasks of the application."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask

from layered_backend import (
    Background,
    Database,
    FailedJob,
    LockTimeoutError,
    Outcome,
    RequestIdFilter,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
    background_idle,
    current_request_id,
    install,
    run_in_background,
    uow_dependency,
)
from tests.databases import Shop
from tests.shop import Base, ItemRepository, ItemService, ShopUnitOfWork, add_item, violate

ShopUOW = Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))]

color: ContextVar[str] = ContextVar("color", default="none")


async def rename(uow: ShopUnitOfWork, item_id: int, name: str) -> None:
    await uow.items.update(item_id, {"name": name})


async def fail(uow: ShopUnitOfWork, item_id: int) -> None:
    await uow.items.create({"name": "half", "price": 1})
    raise KeyError("of the job")


def application(shop: Shop, background: Background | None = None) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=shop.database, background=background)
    return app


@pytest.fixture
def app(async_shop: Shop) -> FastAPI:
    return application(async_shop)


@pytest.fixture
def small(sqlite_shop: Shop) -> FastAPI:
    return application(sqlite_shop)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


async def post(app: FastAPI, path: str = "/", **options: Any) -> httpx2.Response:
    """Send a request, and wait for what it has left running."""
    async with client_of(app) as client:
        response = await client.post(path, **options)
    await background_idle(app)
    return response


class TestWhenItRuns:
    async def test_it_has_a_unit_of_work_of_its_own_after_the_commit(self, app: FastAPI, async_shop: Shop) -> None:
        units: list[UnitOfWork] = []
        outcomes: list[Outcome] = []

        async def work(uow: ShopUnitOfWork, item_id: int) -> None:
            outcomes.append(units[0].outcome)
            units.append(uow)
            await rename(uow, item_id, "green tea")

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            units.append(uow)
            tea = await add_item(uow, "tea")
            run_in_background(tasks, ShopUnitOfWork, work, tea.id)

        assert (await post(app)).status_code == 200
        assert await async_shop.names() == ["green tea"]
        assert outcomes == [Outcome.COMMITTED]
        assert units[0] is not units[1]

    async def test_it_does_not_run_when_the_handler_raises(self, app: FastAPI, async_shop: Shop) -> None:
        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            tea = await add_item(uow, "tea")
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")
            raise HTTPException(418, str(tea.id))

        assert (await post(app)).status_code == 418
        assert await async_shop.names() == []

    async def test_it_does_not_run_when_the_commit_is_refused(self, app: FastAPI, async_shop: Shop) -> None:
        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            await add_item(uow, "tea")
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")
            with pytest.raises(UniqueViolationError):
                await violate(uow)

        assert (await post(app)).status_code == 500
        assert await async_shop.names() == []

    async def test_it_does_not_run_when_its_savepoint_is_undone(self, app: FastAPI, async_shop: Shop) -> None:
        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")
                    raise KeyError
            await add_item(uow, "tea")

        assert (await post(app)).status_code == 200
        assert await async_shop.names() == ["tea"]

    @pytest.mark.parametrize("background", [None, BackgroundTask(asyncio.sleep, 0)])
    async def test_it_runs_although_the_handler_returns_a_response_of_its_own(
        self, small: FastAPI, sqlite_shop: Shop, background: BackgroundTask | None
    ) -> None:
        @small.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> JSONResponse:
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")
            return JSONResponse("returned, so committed", 409, background=background)

        assert (await post(small)).status_code == 409
        assert await sqlite_shop.names() == ["coffee"]

    @pytest.mark.parametrize("is_refused", [False, True])
    async def test_it_waits_for_every_unit_of_work_of_the_request(
        self, small: FastAPI, sqlite_shop: Shop, is_refused: bool
    ) -> None:
        class ReportUnitOfWork(UnitOfWork):
            database = Database("sqlite://")

        get_reports = uow_dependency(ReportUnitOfWork)
        outcomes: list[Outcome] = []

        async def work(uow: ShopUnitOfWork, name: str) -> None:
            outcomes.extend(unit.outcome for unit in units)
            await add_item(uow, name)

        units: list[UnitOfWork] = []

        @small.post("/")
        async def create(
            reports: Annotated[ReportUnitOfWork, Depends(get_reports)], uow: ShopUOW, tasks: BackgroundTasks
        ) -> None:
            units.extend((reports, uow))
            run_in_background(tasks, ShopUnitOfWork, work, "coffee")
            if is_refused:  # the other one has committed by then
                reports.session.state.remember(KeyError("caught"))

        async with ReportUnitOfWork.database:
            await post(small)

        assert outcomes == ([] if is_refused else [Outcome.COMMITTED] * 2)
        assert await sqlite_shop.names() == ([] if is_refused else ["coffee"])

    async def test_without_a_unit_of_work_it_runs_after_the_response_unless_the_handler_raises(
        self, small: FastAPI, sqlite_shop: Shop
    ) -> None:
        @small.post("/")
        async def create(tasks: BackgroundTasks, name: str, status: int = 0) -> None:
            run_in_background(tasks, ShopUnitOfWork, add_another, name)
            if status:
                raise HTTPException(status)

        await post(small, "/?name=tea")
        await post(small, "/?name=coffee&status=418")

        assert await sqlite_shop.names() == ["tea"]

    async def test_a_synchronous_route_starts_it_from_its_thread(self, small: FastAPI, sqlite_shop: Shop) -> None:
        @small.post("/")
        def create(tasks: BackgroundTasks) -> None:
            with sqlite_shop.unit() as uow:
                tea = uow.run(add_item(uow, "tea"))
                run_in_background(tasks, ShopUnitOfWork, rename, tea.id, "green tea")
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")

        assert (await post(small)).status_code == 200
        assert sorted(await sqlite_shop.names()) == ["coffee", "green tea"]

    async def test_a_thread_of_the_handler_starts_it_too(self, small: FastAPI, sqlite_shop: Shop) -> None:
        def work_in_thread() -> None:
            with sqlite_shop.unit() as uow:
                run_in_background(BackgroundTasks(), ShopUnitOfWork, add_another, "coffee")
                uow.run(add_item(uow, "tea"))

        @small.post("/")
        async def create() -> None:
            await asyncio.to_thread(work_in_thread)

        assert (await post(small)).status_code == 200
        assert sorted(await sqlite_shop.names()) == ["coffee", "tea"]

    async def test_a_job_begins_another_one_when_it_has_committed(self, small: FastAPI, sqlite_shop: Shop) -> None:
        async def first(uow: ShopUnitOfWork) -> None:
            tea = await add_item(uow, "tea")
            run_in_background(BackgroundTasks(), ShopUnitOfWork, rename, tea.id, "green tea")
            has_begun.set()

        has_begun = asyncio.Event()

        @small.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, first)
            await uow.commit()  # so that it runs while this unit of work is still open
            await has_begun.wait()
            raise HTTPException(418)  # which undoes no more than what follows the commit

        await post(small)

        assert await sqlite_shop.names() == ["green tea"]

    def test_a_websocket_begins_it_too(self, tmp_path: Any) -> None:
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
        database.create_all_sync(Base.metadata)
        app = FastAPI()
        install(app, ShopUnitOfWork, database=database)

        @app.websocket("/")
        async def listen(websocket: WebSocket) -> None:
            await websocket.accept()
            run_in_background(BackgroundTasks(), ShopUnitOfWork, add_another, "tea")
            async with ShopUnitOfWork(database) as uow:
                run_in_background(BackgroundTasks(), ShopUnitOfWork, add_another, "coffee")
            await websocket.send_text(str(uow.outcome))

        with TestClient(app) as client, client.websocket_connect("/") as socket:
            assert socket.receive_text() == "committed"

        with ShopUnitOfWork(database) as uow:
            assert sorted(item.name for item in uow.run(uow.items.list())) == ["coffee", "tea"]
        database.dispose_sync()


class TestHowItRuns:
    async def test_it_does_not_hold_up_the_response(self, small: FastAPI) -> None:
        gate = asyncio.Event()

        async def work(uow: ShopUnitOfWork) -> None:
            await gate.wait()

        @small.post("/")
        async def create(tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work)

        async with client_of(small) as client:
            assert (await client.post("/")).status_code == 200  # the transport waits for FastAPI's own tasks
        gate.set()
        await background_idle(small)

    async def test_the_actor_the_request_id_and_the_context_go_with_it(self, small: FastAPI) -> None:
        seen: list[object] = []

        async def work(uow: ShopUnitOfWork) -> None:
            seen.extend((uow.actor, current_request_id(), color.get()))

        @small.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            uow.actor = "anna"
            color.set("red")
            run_in_background(tasks, ShopUnitOfWork, work)

        response = await post(small, headers={"X-Request-ID": "abc-1"})

        assert response.headers["x-request-id"] == "abc-1"
        assert seen == ["anna", "abc-1", "red"]

    async def test_a_transient_error_runs_it_again_from_nothing(self, app: FastAPI, async_shop: Shop) -> None:
        tries: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            tries.append(1)
            await add_item(uow, f"tea {len(tries)}")
            if len(tries) < 3:
                raise LockTimeoutError

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work)

        await post(app)

        assert await async_shop.names() == ["tea 3"]

    async def test_with_one_attempt_it_runs_once_and_may_commit_in_between(
        self, small: FastAPI, sqlite_shop: Shop
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            await uow.commit()
            await add_item(uow, "coffee")
            raise LockTimeoutError

        @small.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work, attempts=1)

        await post(small)

        assert await sqlite_shop.names() == ["tea"]

    async def test_no_more_run_at_once_than_may_and_all_do_with_few_connections(self, async_shop: Shop) -> None:
        app = application(async_shop, Background(concurrency=3))
        running = most = 0

        async def work(uow: ShopUnitOfWork, number: int) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            await add_item(uow, f"item {number}")
            running -= 1

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            for number in range(20):
                run_in_background(tasks, ShopUnitOfWork, work, number)

        await post(app)

        assert most == 3
        assert len(await async_shop.names()) == 20


class TestFailures:
    async def test_one_is_logged_and_told_and_stops_no_other(
        self, async_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures: list[FailedJob] = []

        async def note(failed: FailedJob) -> None:
            failures.append(failed)

        app = application(async_shop, Background(concurrency=1, on_error=note))
        caplog.handler.addFilter(RequestIdFilter())

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, fail, 7)
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")

        await post(app, headers={"X-Request-ID": "abc-1"})

        assert await async_shop.names() == ["coffee"]
        [record] = [record for record in caplog.records if "failed" in record.message]
        assert record.message.endswith("test_background:fail(7,) failed; its work is rolled_back")
        assert record.__dict__["request_id"] == "abc-1"
        assert record.exc_info
        [failed] = failures
        assert (failed.ids, failed.request_id, repr(failed.error)) == ((7,), "abc-1", "KeyError('of the job')")
        assert failed.name.endswith("test_background:fail")

    async def test_a_hook_that_raises_is_logged(self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        def broken(failed: FailedJob) -> None:
            raise ValueError("of the hook")

        app = application(sqlite_shop, Background(concurrency=1, on_error=broken))

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, fail, 7)
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")

        await post(app)

        assert "of the hook" in caplog.text
        assert await sqlite_shop.names() == ["coffee"]

    async def test_a_job_that_waits_for_a_cancelled_task_has_failed_like_any_other(
        self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = application(sqlite_shop, Background(concurrency=1))

        async def work(uow: ShopUnitOfWork) -> None:
            task = asyncio.create_task(asyncio.sleep(10))
            task.cancel()
            await task

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work)
            run_in_background(tasks, ShopUnitOfWork, add_another, "coffee")

        await post(app)

        assert "failed; its work is rolled_back" in caplog.text
        assert await sqlite_shop.names() == ["coffee"]


class TestTheEnd:
    async def test_the_application_waits_for_its_jobs_when_it_stops(self, app: FastAPI, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork, number: int) -> None:
            await add_item(uow, f"item {number}")
            await asyncio.sleep(0.05)

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            for number in range(10):
                run_in_background(tasks, ShopUnitOfWork, work, number)

        async with app.router.lifespan_context(app), client_of(app) as client:
            await client.post("/")

        assert len(await async_shop.names()) == 10

    async def test_what_takes_too_long_is_undone_and_told(
        self, async_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures: list[FailedJob] = []
        app = application(async_shop, Background(concurrency=1, drain=0.1, on_error=failures.append))

        async def work(uow: ShopUnitOfWork, number: int) -> None:
            await add_item(uow, f"item {number}")
            await asyncio.sleep(60)

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work, 1)
            run_in_background(tasks, ShopUnitOfWork, work, 2)

        async with app.router.lifespan_context(app), client_of(app) as client:
            await client.post("/")

        assert await async_shop.names() == []
        assert sorted(failed.ids for failed in failures) == [(1,), (2,)]
        assert all(isinstance(failed.error, asyncio.CancelledError) for failed in failures)
        cut_off = [record for record in caplog.records if "the application stopped before" in record.message]
        assert len(cut_off) == 2
        assert not any(record.exc_info for record in cut_off)

    async def test_a_commit_that_is_under_way_is_finished_and_not_complained_about(
        self, async_shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = application(async_shop, Background(drain=0))

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            uow.on_commit(lambda: asyncio.sleep(0.05))  # where the cancellation arrives

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work)

        async with app.router.lifespan_context(app), client_of(app) as client:
            await client.post("/")
            while not await async_shop.names():  # noqa: ASYNC110  # another transaction has to see it
                await asyncio.sleep(0.005)

        assert "stopped before" not in caplog.text
        assert await async_shop.names() == ["tea"]

    async def test_what_a_job_begins_while_it_is_cut_off_is_cut_off_too(self, sqlite_shop: Shop) -> None:
        app = application(sqlite_shop, Background(drain=0))

        async def next_one(uow: ShopUnitOfWork) -> None:
            await asyncio.sleep(60)

        async def work(uow: ShopUnitOfWork) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                run_in_background(BackgroundTasks(), ShopUnitOfWork, next_one)

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, work)

        async with app.router.lifespan_context(app), client_of(app) as client:
            await client.post("/")
            await asyncio.sleep(0.01)

        await background_idle(app)

    async def test_one_that_will_not_end_does_not_keep_the_application(
        self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("layered_backend.fastapi.background_jobs._ROLLBACK_LIMIT", 0.05)
        app = application(sqlite_shop, Background(drain=0))
        gate = asyncio.Event()

        async def stubborn(uow: ShopUnitOfWork) -> None:
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            run_in_background(tasks, ShopUnitOfWork, stubborn)

        async with app.router.lifespan_context(app), client_of(app) as client:
            await client.post("/")
            await asyncio.sleep(0.01)

        assert "the application stops although these background jobs go on" in caplog.text
        gate.set()
        await background_idle(app)

    def test_leaving_the_test_client_waits_for_them(self, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
        database.create_all_sync(Base.metadata)
        app = FastAPI()
        install(app, ShopUnitOfWork, database=database)

        @app.post("/")
        async def create(uow: ShopUOW, tasks: BackgroundTasks, name: str) -> None:
            run_in_background(tasks, ShopUnitOfWork, add_another, name)

        with caplog.at_level(logging.INFO, "layered_backend"):
            for name in ("tea", "coffee"):  # in an event loop each
                with TestClient(app) as client:
                    client.post(f"/?name={name}")

        with ShopUnitOfWork(database) as uow:
            assert [item.name for item in uow.run(uow.items.list())] == ["tea", "coffee"]
        database.dispose_sync()


class TestWhatIsRefused:
    async def test_what_could_not_run_later_is_refused_at_once(self, sqlite_shop: Shop) -> None:
        tasks = BackgroundTasks()

        async def work(uow: ShopUnitOfWork, value: Any) -> None: ...

        def synchronous(uow: ShopUnitOfWork, value: Any) -> Any: ...

        async with sqlite_shop.unit() as uow:
            tea = await add_item(uow, "tea")
            tied = (uow, uow.session, uow.items, ItemService(ItemRepository, type(tea), uow), [tea.id, uow])
            for each in tied:
                with pytest.raises(TypeError, match="will have ended; it gets a unit of work of its own"):
                    run_in_background(tasks, ShopUnitOfWork, work, each)
            for entity in (tea, [tea], (tea,)):
                with pytest.raises(TypeError, match=r"an entity, Item, .* pass its key"):
                    run_in_background(tasks, ShopUnitOfWork, work, entity)
            with pytest.raises(TypeError, match="is given the class of its unit of work, such as ShopUnitOfWork"):
                run_in_background(tasks, uow, work, tea.id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="synchronous is not `async def`; write `async def"):
            run_in_background(tasks, ShopUnitOfWork, synchronous, 1)
        with pytest.raises(TypeError, match="is given a unit of work and 0 ids: missing a required argument: 'value'"):
            run_in_background(tasks, ShopUnitOfWork, work)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="attempts is at least 1"):
            run_in_background(tasks, ShopUnitOfWork, work, 1, attempts=0)

    async def test_it_needs_an_application(self) -> None:
        with pytest.raises(UnitOfWorkError, match=r"no application that install\(\) was called for"):
            run_in_background(BackgroundTasks(), ShopUnitOfWork, rename, 1, "tea")
        with pytest.raises(UnitOfWorkError, match="call install"):
            await background_idle(FastAPI())

    @pytest.mark.parametrize("make", [lambda: Background(concurrency=0), lambda: Background(drain=-1)])
    def test_numbers_that_mean_nothing(self, make: Callable[[], Background]) -> None:
        with pytest.raises(ValueError, match="not"):
            make()


async def add_another(uow: ShopUnitOfWork, name: str) -> None:
    await add_item(uow, name)
