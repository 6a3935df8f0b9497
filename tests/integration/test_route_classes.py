"""Routes whose class, a kind of `APIRoute`, answers the errors of its handler: such a request saves nothing."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from layered_backend import (
    NotFoundError,
    UnitOfWork,
    UOWDep,
    background_idle,
    get_service,
    install,
    run_in_background,
    uow_dependency,
)
from layered_backend.testing import client_of
from tests.databases import Shop
from tests.shop import Item, ItemRead, ItemService, ShopUnitOfWork, add_item

Handler = Callable[[Request], Awaitable[Response]]
ShopUOW = Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))]


class _Answering(APIRoute):
    """Answers every error of its handler with 404, as an application does that has a form of its own for them."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001  # whatever it is
                return JSONResponse({"error": type(error).__name__}, 404)

        return answer


class _Passing(APIRoute):
    """Lets every error pass."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def passing(request: Request) -> Response:
            return await handle(request)

        return passing


class _Rewording(APIRoute):
    """Raises another error in place of the handler's."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def reword(request: Request) -> Response:
            try:
                return await handle(request)
            except LookupError as error:
                raise HTTPException(410, "gone") from error

        return reword


class _Retrying(APIRoute):
    """Calls its handler once more after a LookupError."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def retry(request: Request) -> Response:
            try:
                return await handle(request)
            except LookupError:
                return await handle(request)

        return retry


class _Hurrying(APIRoute):
    """Gives its handler a moment, in a task of its own."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def hurry(request: Request) -> Response:
            task = asyncio.ensure_future(handle(request))
            await asyncio.wait({task}, timeout=5)
            try:
                return task.result()
            except LookupError:
                return JSONResponse({}, 404)

        return hurry


class _Journal:
    """What is known of a request's units of work afterwards."""

    def __init__(self) -> None:
        self.units: list[UnitOfWork] = []
        self.hooks: list[str] = []

    async def write(self, uow: ShopUnitOfWork, name: str) -> Item:
        self.units.append(uow)
        uow.on_commit(lambda: self.hooks.append(name))
        return await add_item(uow, name)

    @property
    def outcomes(self) -> list[str]:
        return [uow.outcome for uow in self.units]


def _application(shop: Shop) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=shop.database)
    return app


async def _post(app: FastAPI, path: str = "/items", **options: Any) -> httpx2.Response:
    async with client_of(app, raise_errors=False) as client:
        return await client.post(path, **options)


class TestErrorsThatTheClassAnswers:
    async def test_an_error_of_the_endpoint_undoes_what_it_has_written(self, async_shop: Shop) -> None:
        app, router, journal = _application(async_shop), APIRouter(route_class=_Answering), _Journal()

        @router.post("/items")
        async def half(uow: ShopUOW) -> None:
            await journal.write(uow, "half")
            raise KeyError("the other half")

        app.include_router(router)

        response = await _post(app)

        assert (response.status_code, response.json()) == (404, {"error": "KeyError"})
        assert await async_shop.names() == []
        assert (journal.outcomes, journal.hooks) == (["rolled_back"], [])

    async def test_an_error_of_the_library_is_answered_by_the_class_too(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        @router.post("/items")
        async def miss(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            await uow.items.get(10**6)

        app.include_router(router)

        assert (await _post(app)).json() == {"error": NotFoundError.__name__}
        assert await async_shop.names() == []

    async def test_a_response_that_does_not_fit_its_model_undoes_what_was_written(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        @router.post("/items", response_model=ItemRead)
        async def misfit(uow: ShopUOW) -> Any:
            await add_item(uow, "tea")
            return {"id": "none"}

        app.include_router(router)

        assert (await _post(app)).json() == {"error": ResponseValidationError.__name__}
        assert await async_shop.names() == []

    async def test_a_request_that_is_refused_after_a_dependency_wrote_saves_nothing(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        async def audit(uow: ShopUOW) -> None:
            await add_item(uow, "attempt")

        @router.post("/items", dependencies=[Depends(audit)])
        async def create(amount: int) -> None: ...

        app.include_router(router)

        response = await _post(app, params={"amount": "many"})

        assert response.json() == {"error": RequestValidationError.__name__}
        assert await async_shop.names() == []

    async def test_an_error_of_a_later_dependency_undoes_what_an_earlier_one_wrote(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        async def write(uow: ShopUOW) -> None:
            await add_item(uow, "tea")

        async def refuse(written: Annotated[None, Depends(write)]) -> None:
            raise PermissionError

        @router.post("/items", dependencies=[Depends(refuse)])
        async def create() -> None: ...

        app.include_router(router)

        assert (await _post(app)).json() == {"error": "PermissionError"}
        assert await async_shop.names() == []

    async def test_a_service_is_undone_like_the_unit_of_work_itself(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        @router.post("/items")
        async def half(service: Annotated[ItemService, Depends(get_service(ItemService))]) -> None:
            await service.repository.create({"name": "tea", "price": 1})
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 404
        assert await async_shop.names() == []

    async def test_the_unit_of_work_of_each_database_is_undone(self, async_shop: Shop) -> None:
        class OtherUnitOfWork(ShopUnitOfWork):
            database = async_shop.database

        class OwnUnitOfWork(UnitOfWork):
            database = async_shop.database

        app, router, journal = FastAPI(), APIRouter(route_class=_Answering), _Journal()
        install(app, OwnUnitOfWork)

        @router.post("/items")
        async def half(own: UOWDep, other: Annotated[Any, Depends(uow_dependency(OtherUnitOfWork))]) -> None:
            journal.units.append(own)
            await journal.write(other, "tea")
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 404
        assert journal.outcomes == ["rolled_back", "rolled_back"]
        assert await async_shop.names() == []

    async def test_work_for_the_background_never_runs(self, sqlite_shop: Shop) -> None:
        app, router, journal = _application(sqlite_shop), APIRouter(route_class=_Answering), _Journal()

        async def work(uow: ShopUnitOfWork) -> None:
            journal.hooks.append("work")

        @router.post("/items")
        async def half(uow: ShopUOW, tasks: BackgroundTasks) -> None:
            await add_item(uow, "tea")
            run_in_background(tasks, ShopUnitOfWork, work)
            raise KeyError

        app.include_router(router)
        async with client_of(app) as client:
            await client.post("/items")
            await background_idle(app)

        assert journal.hooks == []

    async def test_what_was_committed_in_between_stays_and_is_told(self, async_shop: Shop) -> None:
        app, router, journal = _application(async_shop), APIRouter(route_class=_Answering), _Journal()

        @router.post("/items")
        async def half(uow: ShopUOW) -> None:
            await journal.write(uow, "saved")
            await uow.commit()
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 404
        assert (journal.outcomes, journal.hooks) == (["committed"], ["saved"])
        assert await async_shop.names() == ["saved"]

    async def test_a_dependency_that_writes_after_its_yield_does_not_spoil_the_answer(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Answering)

        async def audited(uow: ShopUOW) -> AsyncGenerator[None]:
            yield
            await add_item(uow, "audit")

        @router.post("/items", dependencies=[Depends(audited, scope="function")])
        async def half(uow: ShopUOW) -> None:
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 404
        assert await async_shop.names() == []

    async def test_a_handler_in_a_task_of_its_own_is_undone(self, async_shop: Shop) -> None:
        app, router = _application(async_shop), APIRouter(route_class=_Hurrying)

        @router.post("/items")
        async def half(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 404
        assert await async_shop.names() == []


class TestOtherHandlers:
    """What a route class does without swallowing anything."""

    @pytest.mark.parametrize("route_class", [_Answering, _Passing, _Rewording, _Retrying, _Hurrying])
    async def test_a_handler_that_returns_commits(self, sqlite_shop: Shop, route_class: type[APIRoute]) -> None:
        app, router, journal = _application(sqlite_shop), APIRouter(route_class=route_class), _Journal()

        @router.post("/items", status_code=201)
        async def create(uow: ShopUOW) -> str:
            return (await journal.write(uow, "tea")).name

        app.include_router(router)

        response = await _post(app)

        assert (response.status_code, response.json()) == (201, "tea")
        assert (await sqlite_shop.names(), journal.outcomes, journal.hooks) == (["tea"], ["committed"], ["tea"])

    async def test_an_error_that_passes_is_answered_as_ever(self, sqlite_shop: Shop) -> None:
        app, router = _application(sqlite_shop), APIRouter(route_class=_Passing)

        @router.post("/items")
        async def miss(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            await uow.items.get(10**6)

        app.include_router(router)
        response = await _post(app)

        assert (response.status_code, response.json()) == (404, {"detail": "Item not found"})
        assert await sqlite_shop.names() == []

    async def test_an_error_in_other_words_undoes_as_well(self, sqlite_shop: Shop) -> None:
        app, router = _application(sqlite_shop), APIRouter(route_class=_Rewording)

        @router.post("/items")
        async def half(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            raise KeyError

        app.include_router(router)

        assert (await _post(app)).status_code == 410
        assert await sqlite_shop.names() == []

    async def test_an_answer_that_is_an_error_and_was_not_raised_commits(self, sqlite_shop: Shop) -> None:
        app, router = _application(sqlite_shop), APIRouter(route_class=_Answering)

        @router.post("/items")
        async def conflict(uow: ShopUOW) -> JSONResponse:
            await add_item(uow, "tea")
            return JSONResponse({}, 409)

        app.include_router(router)

        assert (await _post(app)).status_code == 409
        assert await sqlite_shop.names() == ["tea"]

    async def test_a_second_call_of_the_handler_has_a_unit_of_work_of_its_own(self, async_shop: Shop) -> None:
        app, router, journal = _application(async_shop), APIRouter(route_class=_Retrying), _Journal()

        @router.post("/items")
        async def flaky(uow: ShopUOW) -> str:
            item = await journal.write(uow, f"tea {len(journal.units)}")
            if len(journal.units) == 1:
                raise KeyError
            return item.name

        app.include_router(router)

        response = await _post(app)

        assert (response.status_code, response.json()) == (200, "tea 1")
        assert await async_shop.names() == ["tea 1"]
        assert (journal.outcomes, journal.hooks) == (["rolled_back", "committed"], ["tea 1"])


class TestPlacesOfRoutes:
    """Where a route with a class of its own may stand."""

    async def test_a_route_of_the_application_itself(self, sqlite_shop: Shop) -> None:
        app = _application(sqlite_shop)
        app.router.route_class = _Answering

        @app.post("/items")
        async def half(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            raise KeyError

        assert (await _post(app)).status_code == 404
        assert await sqlite_shop.names() == []

    async def test_a_router_in_a_router(self, sqlite_shop: Shop) -> None:
        app, outer, inner = _application(sqlite_shop), APIRouter(), APIRouter(route_class=_Answering)

        @inner.post("/items")
        async def half(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            raise KeyError

        outer.include_router(inner, prefix="/inner")
        app.include_router(outer, prefix="/outer")

        assert (await _post(app, "/outer/inner/items")).status_code == 404
        assert await sqlite_shop.names() == []

    async def test_a_dependency_that_the_whole_router_was_given_later(self, sqlite_shop: Shop) -> None:
        app, router = _application(sqlite_shop), APIRouter(route_class=_Answering)

        async def write(uow: ShopUOW) -> None:
            await add_item(uow, "tea")

        @router.post("/items")
        async def fail() -> None:
            raise KeyError

        app.include_router(router, dependencies=[Depends(write)])

        assert (await _post(app)).status_code == 404
        assert await sqlite_shop.names() == []

    async def test_a_mounted_application(self, sqlite_shop: Shop) -> None:
        app, mounted = _application(sqlite_shop), FastAPI()
        mounted.router.route_class = _Answering

        @mounted.post("/items")
        async def half(uow: ShopUOW) -> None:
            await add_item(uow, "tea")
            raise KeyError

        app.mount("/below", mounted)

        assert (await _post(app, "/below/items")).status_code == 404
        assert await sqlite_shop.names() == []

    def test_a_websocket_of_such_a_router_works(self, sqlite_shop: Shop) -> None:
        app, router = _application(sqlite_shop), APIRouter(route_class=_Answering)

        @router.websocket("/ws")
        async def speak(websocket: WebSocket, uow: ShopUOW) -> None:
            await websocket.accept()
            await websocket.send_text((await add_item(uow, "tea")).name)
            await websocket.close()

        app.include_router(router)
        with TestClient(app) as client, client.websocket_connect("/ws") as websocket:
            assert websocket.receive_text() == "tea"
