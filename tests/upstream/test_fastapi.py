"""What the library uses of FastAPI that FastAPI does not document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from layered_backend.upstream.fastapi import run_of, verify, watch_handlers


class _Swallowing(APIRoute):
    def get_route_handler(self) -> Any:
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def swallow(request: Request) -> Response:
            try:
                return await handle(request)
            except LookupError:
                run = run_of(request.scope)
                return Response(f"has failed: {run is not None and run.has_failed}", 404)

        return swallow


async def fail() -> None:
    raise LookupError


async def tell(request: Request) -> str:
    return f"watched: {run_of(request.scope) is not None}"


def _client(route_class: type[APIRoute]) -> TestClient:
    watch_handlers()
    app, router = FastAPI(), APIRouter(route_class=route_class)
    router.add_api_route("/fail", fail)
    router.add_api_route("/tell", tell)
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False)


def test_the_installed_release_has_all_that_is_used() -> None:
    verify()


def test_a_handler_whose_error_is_answered_by_its_route_class_is_known_to_have_failed() -> None:
    assert _client(_Swallowing).get("/fail").text == "has failed: True"


def test_the_handlers_of_plain_routes_are_left_alone() -> None:
    client = _client(APIRoute)

    assert client.get("/tell").json() == "watched: False"
    assert client.get("/fail").status_code == 500
