"""Methods that a path does not have."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request

from layered_backend import add_error_handlers, error_responses


async def nothing() -> None: ...


def router() -> APIRouter:
    router = APIRouter()
    router.add_api_route("", nothing, methods=["POST"])
    router.add_api_route("", nothing, methods=["GET"])
    router.add_api_route("/named", nothing, methods=["POST"])
    router.add_api_route("/{item_id}", nothing, methods=["DELETE"])
    router.add_api_route("/{item_id}", nothing, methods=["PUT", "PATCH"])
    return router


def application() -> FastAPI:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(router(), prefix="/items")
    return app


def allowed(app: FastAPI, method: str, path: str, root: str = "") -> Any:
    with TestClient(app, root_path=root) as client:
        answer = client.request(method, path)
    return answer.status_code, answer.headers.get("Allow")


@pytest.mark.parametrize("root", ["", "/shop"])
@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("DELETE", "/items", "GET, POST"),
        ("OPTIONS", "/items", "GET, POST"),
        ("GET", "/items/7", "PUT, PATCH, DELETE"),
        ("GET", "/items/named", "POST, PUT, PATCH, DELETE"),
    ],
)
def test_the_answer_names_all_that_the_path_has(method: str, path: str, methods: str, root: str) -> None:
    assert allowed(application(), method, path, root) == (405, methods)


def test_those_of_a_mounted_application_are_its_own() -> None:
    app, inner = FastAPI(), application()
    add_error_handlers(app)
    app.mount("/inner", inner)
    app.add_api_route("/inner/items", nothing, methods=["PUT"])

    assert allowed(app, "DELETE", "/inner/items") == (405, "GET, POST")


def test_an_answer_of_the_applications_own_is_left_alone() -> None:
    app = application()

    @app.get("/never")
    async def never() -> None:
        raise HTTPException(405, "never")

    assert allowed(app, "GET", "/never") == (405, None)


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_the_applications_own_handler_of_errors_writes_the_answer(is_asynchronous: bool) -> None:
    app = application()

    def answer(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"own": error.status_code}, error.status_code, headers=error.headers)

    async def answer_later(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return answer(request, error)

    app.add_exception_handler(StarletteHTTPException, answer_later if is_asynchronous else answer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with TestClient(app) as client:
        answered = client.delete("/items")

    assert (answered.json(), answered.headers["Allow"]) == ({"own": 405}, "GET, POST")


def test_a_handler_of_the_applications_own_for_the_status_is_kept() -> None:
    app = FastAPI()

    @app.exception_handler(405)
    async def answer(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse("mine", 405)

    add_error_handlers(app)
    app.include_router(router(), prefix="/items")

    with TestClient(app) as client:
        assert client.delete("/items").json() == "mine"


def test_errors_are_documented_as_json_whatever_the_route_answers() -> None:
    app = FastAPI()

    @app.get("/page", response_class=HTMLResponse, responses=error_responses(404, 422))
    async def page() -> str:
        return ""

    @app.get("/json", responses=error_responses(404, 422))
    async def json() -> str:
        return ""

    paths = app.openapi()["paths"]
    for path in ("/page", "/json"):
        for status in ("404", "422"):
            content = paths[path]["get"]["responses"][status]["content"]
            assert [*content] == ["application/json"]
            assert "ErrorBody" in str(content["application/json"]["schema"])
