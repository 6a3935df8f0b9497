import asyncio
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from layered_backend import (
    Database,
    FinishedError,
    LayeredError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    PreconditionFailedError,
    PreconditionRequiredError,
    SessionDep,
    TransientError,
    UnauthenticatedError,
    UnitOfWork,
    UnitOfWorkError,
    UOWDep,
    add_error_handlers,
    get_repository,
    get_service,
    get_uow,
    install,
    uow_dependency,
)
from layered_backend.testing import client_of
from tests.databases import Shop
from tests.shop import Category, Item, ItemCreate, ItemRead, ItemRepository, ItemService, ItemUpdate, ShopUnitOfWork

get_item_service = get_service(ItemService, ItemRepository, Item)
Service = Annotated[ItemService, Depends(get_item_service)]
ShopUOW = Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))]

router = APIRouter()


@router.post("/items", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate, service: Service) -> Item:
    return await service.create(data)


@router.get("/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, service: Service) -> Item:
    return await service.get(item_id)


@router.patch("/items/{item_id}", response_model=ItemRead)
async def update_item(
    item_id: int, data: ItemUpdate, service: Annotated[ItemService, Depends(get_service(ItemService))]
) -> Item:
    return await service.update(item_id, data)


@router.delete("/items/{item_id}", status_code=204)
async def delete_item(item_id: int, service: Service) -> None:
    await service.delete(item_id)


@router.get("/count")
async def count_items(
    uow: ShopUOW, session: SessionDep, items: Annotated[ItemRepository, Depends(get_repository(ItemRepository))]
) -> int:
    assert session is uow.session is items.session
    return await items.count()


def _application(shop: Shop) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=shop.database)
    app.include_router(router)
    return app


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.fixture
async def app(async_bound: Shop) -> FastAPI:
    return _application(async_bound)


@pytest.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_of(app, raise_errors=False) as client:
        yield client


@pytest.fixture
async def small(sqlite_shop: Shop) -> FastAPI:
    return _application(sqlite_shop)


async def _get(app: FastAPI, path: str, method: str = "GET") -> httpx2.Response:
    async with _client(app) as client:
        return await client.request(method, path)


class TestTheLayers:
    async def test_an_item_is_created_read_changed_and_deleted(self, client: httpx2.AsyncClient) -> None:
        created = await client.post("/items", json={"name": "tea", "price": "3.5", "note": "green"})
        path = f"/items/{created.json()['id']}"
        omitted = await client.patch(path, json={"price": 4})
        nulled = await client.patch(path, json={"note": None})
        read = await client.get(path)
        deleted = await client.delete(path)
        gone = await client.get(path)

        assert created.status_code == 201
        assert omitted.json() == created.json() | {"price": "4"}
        assert nulled.json() == omitted.json() | {"note": None}
        assert read.json() == nulled.json()
        assert (deleted.status_code, gone.status_code) == (204, 404)
        assert (await client.get("/count")).json() == 0

    async def test_a_missing_key_is_404(self, client: httpx2.AsyncClient) -> None:
        for key in (7, 10**30):
            answer = await client.get(f"/items/{key}")
            assert (answer.status_code, answer.json()) == (404, {"detail": "Item not found"})

    async def test_a_duplicate_is_409_and_saves_nothing(self, client: httpx2.AsyncClient) -> None:
        await client.post("/items", json={"name": "tea", "price": 1})

        answer = await client.post("/items", json={"name": "tea", "price": 2})

        assert (answer.status_code, answer.json()) == (409, {"detail": "Another row already has the same name"})
        assert (await client.get("/count")).json() == 1

    async def test_a_foreign_key_violation_is_409(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/items", json={"name": "tea", "price": 1, "category_id": 99})

        assert answer.status_code == 409
        assert answer.json() == {"detail": "The value of category_id refers to no row"}

    async def test_a_broken_check_is_422(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/items", json={"name": "tea", "price": -1})

        assert answer.status_code == 422
        assert answer.json() == {"detail": "The data breaks the rule ck_items_price_not_negative"}

    async def test_fastapis_own_validation_keeps_its_list(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/items", json={"name": "tea"})

        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "price"]

    async def test_an_unexpected_error_is_500_and_tells_nothing(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        @app.get("/broken")
        async def broken(session: SessionDep) -> None:
            await session.execute(text("SELECT secret FROM nowhere"))

        answer = await client.get("/broken")

        assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://user:secret@127.0.0.1:1/shop",
            "postgresql+psycopg://user:secret@127.0.0.1:1/shop",
            "mariadb://user:secret@127.0.0.1:1/shop",
            "sqlite:////nowhere/secret.db",
        ],
    )
    async def test_an_unreachable_database_is_503_and_tells_nothing(self, url: str) -> None:
        async with Database(url) as database:
            app = FastAPI()
            install(app, ShopUnitOfWork, database=database)
            app.include_router(router)
            answer = await _get(app, "/items/1")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json() == {"detail": "The service is not available at the moment; try again"}


class TestOneUnitOfWork:
    async def test_all_dependencies_share_it_whatever_scope_they_write(self, small: FastAPI) -> None:
        @small.get("/shared")
        async def shared(  # noqa: PLR0917  # FastAPI passes them by name
            plain: UOWDep,
            function: Annotated[UnitOfWork, Depends(get_uow, scope="function")],
            request: Annotated[UnitOfWork, Depends(get_uow, scope="request")],
            typed: ShopUOW,
            service: Service,
            other: Annotated[ItemService, Depends(get_service(ItemService, ItemRepository, Item), scope="request")],
        ) -> bool:
            return len({id(uow) for uow in (plain, function, request, typed, service.uow, other.uow)}) == 1

        assert (await _get(small, "/shared")).json() is True

    async def test_it_is_committed_before_the_response_is_sent(self, small: FastAPI, sqlite_shop: Shop) -> None:
        seen: list[tuple[str, int]] = []

        async def count(when: str) -> None:
            seen.append((when, await sqlite_shop.run(lambda uow: uow.items.count())))

        @small.post("/watched")
        async def watched(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            await uow.items.create({"name": "tea", "price": 1})
            tasks.add_task(count, "in the background")

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            await count(message["type"])

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/watched",
            "headers": [],
            "query_string": b"",
        }
        await small(scope, receive, send)

        assert seen == [("http.response.start", 1), ("http.response.body", 1), ("in the background", 1)]

    async def test_a_handler_that_raises_rolls_back(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        @app.post("/raising")
        async def raising(uow: ShopUOW) -> None:
            await uow.items.create({"name": "tea", "price": 1})
            raise NotFoundError("Something")

        answer = await client.post("/raising")

        assert (answer.status_code, answer.json()) == (404, {"detail": "Something not found"})
        assert (await client.get("/count")).json() == 0

    async def test_a_response_that_does_not_validate_rolls_back(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        @app.post("/invalid", response_model=ItemRead)
        async def invalid(uow: ShopUOW) -> Any:
            await uow.items.create({"name": "tea", "price": 1})
            return {"id": "no number"}

        assert (await client.post("/invalid")).status_code == 500
        assert (await client.get("/count")).json() == 0

    async def test_an_attribute_that_was_not_loaded_in_time_is_named_with_what_to_do(self, small: FastAPI) -> None:
        class CategoryRead(BaseModel):
            model_config = ConfigDict(from_attributes=True)

            items: list[ItemRead]

        @small.post("/inside", response_model=CategoryRead)
        async def inside(uow: ShopUOW) -> Category:
            await uow.categories.create({"name": "drinks"})
            uow.session.expunge_all()
            return await uow.categories.one()

        @small.post("/after", response_model=list[CategoryRead])
        async def after(uow: ShopUOW) -> list[Category]:
            async with type(uow)(uow.database) as other:
                await other.categories.create({"name": "drinks"})
                other.session.expunge_all()
                return [await other.categories.one()]

        transport = httpx2.ASGITransport(small)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            for path in ("/inside", "/after"):
                with pytest.raises(ResponseValidationError) as caught:
                    await client.post(path)
                told = "".join(traceback.format_exception(caught.value))
                assert "Category.items " in told
                assert "add options=[selectinload(Category.items)] to the query" in told

    async def test_a_returned_error_response_commits(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        @app.post("/returned")
        async def returned(uow: ShopUOW) -> JSONResponse:
            await uow.items.create({"name": "tea", "price": 1})
            return JSONResponse({"detail": "noted"}, status_code=409)

        assert (await client.post("/returned")).status_code == 409
        assert (await client.get("/count")).json() == 1

    async def test_a_background_task_that_uses_the_requests_unit_of_work_is_told(self, small: FastAPI) -> None:
        told: list[Exception] = []

        async def late(service: ItemService) -> None:
            try:
                await service.count()
            except FinishedError as error:
                told.append(error)

        @small.post("/late")
        async def route(service: Service, tasks: BackgroundTasks) -> None:
            tasks.add_task(late, service)

        assert (await _get(small, "/late", "POST")).status_code == 200
        assert len(told) == 1

    async def test_readers_of_sqlite_do_not_queue_behind_a_writer(self, small: FastAPI, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as writer:
            await writer.items.create({"name": "tea", "price": 1})
            answer = await asyncio.wait_for(_get(small, "/count"), timeout=10)

        assert answer.json() == 0


class TestSeveralDatabases:
    async def test_each_class_of_unit_of_work_has_its_own(self, small: FastAPI) -> None:
        async with Database("sqlite://") as reports:

            class ReportUnitOfWork(UnitOfWork):
                database = reports

            of_reports = Depends(get_service(ItemService, ItemRepository, Item, unit_of_work=ReportUnitOfWork))

            @small.get("/both")
            async def both(
                shop: UOWDep,
                report: Annotated[ReportUnitOfWork, Depends(uow_dependency(ReportUnitOfWork))],
                service: Annotated[ItemService, of_reports],
            ) -> bool:
                return service.uow is report is not shop and report.database is reports

            assert (await _get(small, "/both")).json() is True


class TestGetService:
    async def test_the_repository_class_that_is_given_is_used(self, small: FastAPI) -> None:
        class FakeItems(ItemRepository):
            async def count(self, *where: Any) -> int:
                return 42

        @small.get("/fake")
        async def fake(service: Annotated[ItemService, Depends(get_service(ItemService, FakeItems, Item))]) -> int:
            return await service.count()

        assert (await _get(small, "/fake")).json() == 42

    async def test_a_constructor_that_raises_is_called_once_and_its_error_surfaces(self, small: FastAPI) -> None:
        calls: list[int] = []

        class Broken(ItemService):
            def __init__(self, *args: Any) -> None:
                calls.append(1)
                raise TypeError("of the constructor")

        @small.get("/broken")
        async def broken(service: Annotated[ItemService, Depends(get_service(Broken, ItemRepository, Item))]) -> None:
            pass

        with pytest.raises(TypeError, match="of the constructor"):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://shop") as client:
                await client.get("/broken")

        assert len(calls) == 1

    async def test_a_constructor_that_takes_something_else_is_refused_when_it_is_wired(self) -> None:
        class PriceService(ItemService):
            def __init__(self, uow: UnitOfWork, currency: str) -> None:
                super().__init__(ItemRepository, Item, uow)
                self.currency = currency

        with pytest.raises(TypeError, match=r"write `async def get_it\(uow: UOWDep\) -> PriceService"):
            get_service(PriceService)

    async def test_the_same_arguments_give_the_same_dependency(self) -> None:
        assert get_service(ItemService, ItemRepository, Item) is get_item_service
        assert get_service(ItemService) is get_service(ItemService)
        assert get_repository(ItemRepository) is get_repository(ItemRepository)

    async def test_it_can_be_overridden_where_it_is_written_inline(self, small: FastAPI) -> None:
        class Stub:
            async def get(self, key: int) -> dict[str, Any]:
                return {"id": key, "name": "stub", "price": 1, "note": None}

        small.dependency_overrides[get_service(ItemService, ItemRepository, Item)] = Stub

        assert (await _get(small, "/items/5")).json()["name"] == "stub"

    async def test_nothing_of_it_shows_in_the_openapi_document(self, small: FastAPI) -> None:
        document = small.openapi()

        parameters = document["paths"]["/items/{item_id}"]["patch"]["parameters"]
        assert [parameter["name"] for parameter in parameters] == ["item_id"]
        assert "parameters" not in document["paths"]["/count"]["get"]


class TestSynchronousRoutes:
    @pytest.mark.parametrize("parameter", [Service, UOWDep, ShopUOW, SessionDep])
    async def test_a_def_route_is_told_to_be_async(self, small: FastAPI, parameter: Any) -> None:
        @small.get("/def")
        def route(layer: parameter) -> None:  # pyright: ignore
            raise AssertionError

        with pytest.raises(UnitOfWorkError, match=r"the route route takes layer, .* write `async def`"):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://shop") as client:
                await client.get("/def")

    async def test_a_def_route_whose_dependency_has_waited_is_fine(self, small: FastAPI) -> None:
        async def load_count(service: Service) -> int:
            return await service.count()

        @small.get("/def")
        def route(count: Annotated[int, Depends(load_count)]) -> int:
            return count

        assert (await _get(small, "/def")).json() == 0


STATUSES: list[tuple[LayeredError, int, str | None]] = [
    (PermissionDeniedError(), 403, "Permission denied"),
    (PermissionDeniedError("only owners may"), 403, "Only owners may"),
    (UnauthenticatedError(), 401, "Not authenticated"),
    (PreconditionFailedError(), 412, "The row has changed since it was read"),
    (PreconditionRequiredError(), 428, "The expected state of the row must be named"),
    (TransientError("lock on row 7"), 503, "The service is not available at the moment; try again"),
    (UnitOfWorkError("of the inside"), 500, "Internal server error"),
    (LayeredError("of the inside"), 500, "Internal server error"),
]


class TestErrorHandlers:
    @pytest.mark.parametrize(("error", "status", "detail"), STATUSES, ids=lambda value: repr(value)[:30])
    async def test_each_error_has_its_status(
        self, small: FastAPI, error: LayeredError, status: int, detail: str
    ) -> None:
        @small.get("/raise")
        async def route() -> None:
            raise error

        answer = await _get(small, "/raise")

        assert (answer.status_code, answer.json()) == (status, {"detail": detail})
        assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)

    async def test_the_applications_own_handlers_are_kept(self, sqlite_shop: Shop) -> None:
        app = FastAPI()

        @app.exception_handler(LayeredError)
        async def own(request: Any, error: LayeredError) -> JSONResponse:
            return JSONResponse({"own": True}, 418)

        install(app, ShopUnitOfWork, database=sqlite_shop.database)
        app.include_router(router)

        assert (await _get(app, "/items/1")).status_code == 418

    async def test_an_error_in_a_websocket_closes_it(self, small: FastAPI) -> None:
        @small.websocket("/socket")
        async def socket(websocket: WebSocket, uow: ShopUOW) -> None:
            await websocket.accept()
            await uow.items.get(1)

        def connect() -> None:
            with TestClient(small).websocket_connect("/socket") as connection:
                connection.receive_text()

        with pytest.raises(NotFoundError):
            await asyncio.to_thread(connect)


class TestInstall:
    async def test_a_mounted_application_finds_its_parents(self, small: FastAPI) -> None:
        mounted, deeper = FastAPI(), FastAPI()
        for each in (mounted, deeper):
            each.include_router(router)
            add_error_handlers(each)
        mounted.mount("/deeper", deeper)
        small.mount("/mounted", mounted)

        assert (await _get(small, "/mounted/count")).json() == 0
        assert (await _get(small, "/mounted/deeper/items/1")).json() == {"detail": "Item not found"}

    async def test_without_it_the_error_says_what_to_call(self) -> None:
        app = FastAPI()
        app.include_router(router)

        with pytest.raises(UnitOfWorkError, match=r"call install\(app, ShopUnitOfWork\)"):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
                await client.get("/count")

    async def test_twice_is_refused(self, small: FastAPI, sqlite_shop: Shop) -> None:
        with pytest.raises(UnitOfWorkError, match=r"use uow_dependency\(\) for a second database"):
            install(small, ShopUnitOfWork, database=sqlite_shop.database)

    def test_without_a_database_it_is_refused(self) -> None:
        with pytest.raises(UnitOfWorkError, match="ShopUnitOfWork has no database"):
            install(FastAPI(), ShopUnitOfWork)

    def test_the_lifespan_wraps_the_applications_own_and_closes_the_database(self, tmp_path: Any) -> None:
        seen: list[object] = []
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
            await database.create_all(Item.metadata)
            seen.append("started")
            yield {"own": "state"}
            seen.append("stopped")

        app = FastAPI(lifespan=lifespan)
        install(app, ShopUnitOfWork, database=database)
        app.include_router(router)
        for _ in range(2):  # a second start, on another event loop, works as the first
            with TestClient(app) as client:
                client.app_state["seen"] = True
                assert client.get("/count").json() == 0
                assert client.app_state["own"] == "state"
            pool: Any = database.engine.pool
            assert pool.checkedin() == pool.checkedout() == 0

        assert seen == ["started", "stopped"] * 2

    def test_requests_outside_the_lifespan_work_too(self, tmp_path: Any) -> None:
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
        database.create_all_sync(Item.metadata)
        app = FastAPI()
        install(app, ShopUnitOfWork, database=database)
        app.include_router(router)

        with TestClient(app) as client:
            answers = [client.get("/count").json() for _ in range(3)]
        database.dispose_sync()

        assert answers == [0, 0, 0]


async def test_the_unit_of_work_is_over_when_the_response_is_there(small: FastAPI) -> None:
    units: list[UnitOfWork] = []

    @small.get("/kept")
    async def kept(uow: UOWDep) -> Decimal:
        units.append(uow)
        return Decimal(1)

    await _get(small, "/kept")

    assert units[0].outcome is Outcome.COMMITTED
