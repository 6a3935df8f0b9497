"""What the library uses of Starlette that Starlette does not document."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from layered_backend.upstream.starlette import (
    Lifespan,
    endpoint_of,
    exception_handlers_of,
    has_method,
    root_path_of,
    verify_starlette,
    wrap_application,
    wrap_lifespan,
)


async def nothing() -> None: ...


def test_the_installed_release_has_all_that_is_used() -> None:
    verify_starlette()


def test_a_lifespan_is_wrapped_after_the_application_was_made() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def own(app: Any) -> AsyncGenerator[dict[str, str]]:
        seen.append("own begins")
        yield {"kept": "state"}
        seen.append("own ends")

    def wrap(inner: Lifespan) -> Lifespan:
        @asynccontextmanager
        async def outer(app: Any) -> AsyncGenerator[Any]:
            seen.append("begins")
            async with inner(app) as state:
                yield state
            seen.append("ends")

        return outer

    app = FastAPI(lifespan=own)
    wrap_lifespan(app, wrap)

    @app.get("/")
    async def read(request: Request) -> str:
        return str(request.state.kept)

    with TestClient(app) as client:
        assert client.get("/").json() == "state"
    assert seen == ["begins", "own begins", "own ends", "ends"]


def test_an_application_is_wrapped_outside_of_its_answers_to_unexpected_errors() -> None:
    statuses: list[int] = []

    def wrap(inner: ASGIApp) -> ASGIApp:
        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Any) -> None:
                statuses.extend([message["status"]] if "status" in message else [])
                await send(message)

            await inner(scope, receive, sending)

        return outer

    app = FastAPI()
    wrap_application(app, wrap)

    @app.get("/")
    async def fail() -> None:
        raise LookupError

    TestClient(app, raise_server_exceptions=False).get("/")

    assert statuses == [500]


def test_the_handlers_of_an_application_can_be_read_and_added_to() -> None:
    app = FastAPI()

    @app.exception_handler(LookupError)
    async def own(request: Request, error: Exception) -> None: ...

    assert exception_handlers_of(app)[LookupError] is own
    exception_handlers_of(app)[KeyError] = own
    assert exception_handlers_of(app)[KeyError] is own


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_a_request_knows_the_function_behind_its_route(prefix: str) -> None:
    app, router = FastAPI(), APIRouter()

    async def tell(request: Request) -> bool:
        return endpoint_of(request) is tell

    router.add_api_route("/tell", tell)
    app.include_router(router, prefix=prefix)

    assert TestClient(app).get(f"{prefix}/tell").json() is True


def test_the_methods_of_a_path_are_those_of_all_routers() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/tea", nothing, methods=["POST"])
    app.include_router(router)

    @app.get("/tea")
    async def methods(request: Request) -> list[str]:
        return [method for method in ("GET", "POST", "PUT") if has_method(request, method)]

    assert TestClient(app).get("/tea").json() == ["GET", "POST"]


@pytest.mark.parametrize("path", ["/here", "/below/here"])
def test_the_prefix_of_a_proxy_is_known_in_a_mounted_application_too(path: str) -> None:
    app, mounted = FastAPI(), FastAPI()

    async def tell(request: Request) -> str:
        return root_path_of(request)

    app.add_api_route("/here", tell)
    mounted.add_api_route("/here", tell)
    app.mount("/below", mounted)

    assert TestClient(app, root_path="/proxy").get(f"/proxy{path}").json() == "/proxy"
