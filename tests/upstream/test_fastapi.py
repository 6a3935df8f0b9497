"""What the library uses of FastAPI that FastAPI does not document."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from fastapi.testclient import TestClient
from pydantic import BaseModel

from layered_backend.upstream.fastapi import (
    Dependency,
    HandlerRun,
    JSONContent,
    Scheme,
    is_scheme,
    run_of,
    verify_fastapi,
    watch_handlers,
)


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


class _Scheme(Scheme):
    def __init__(self) -> None:
        super().__init__()
        self.model = HTTPBearer()
        self.scheme_name = "Ours"

    async def __call__(self) -> None: ...


async def fail() -> None:
    raise LookupError


async def tell(request: Request) -> str:
    return f"watched: {isinstance(run_of(request.scope), HandlerRun)}"


def _client(route_class: type[APIRoute]) -> TestClient:
    watch_handlers()
    app, router = FastAPI(), APIRouter(route_class=route_class)
    router.add_api_route("/fail", fail)
    router.add_api_route("/tell", tell)
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False)


def test_the_installed_release_has_all_that_is_used() -> None:
    verify_fastapi()


def test_a_handler_whose_error_is_answered_by_its_route_class_is_known_to_have_failed() -> None:
    assert _client(_Swallowing).get("/fail").text == "has failed: True"


def test_the_handlers_of_plain_routes_are_left_alone() -> None:
    client = _client(APIRoute)

    assert client.get("/tell").json() == "watched: False"
    assert client.get("/fail").status_code == 500


def test_a_dependency_that_is_a_scheme_is_in_the_document_with_its_scopes() -> None:
    scheme, app = _Scheme(), FastAPI()

    @app.get("/")
    async def read(actor: Annotated[None, Security(scheme, scopes=["items:read"])]) -> None: ...

    document = app.openapi()

    assert document["paths"]["/"]["get"]["security"] == [{"Ours": ["items:read"]}]
    assert document["components"]["securitySchemes"]["Ours"]["scheme"] == "bearer"


def test_schemes_of_ours_and_of_fastapi_are_known() -> None:
    assert is_scheme(_Scheme())
    assert is_scheme(APIKeyHeader(name="X-Key"))
    assert not is_scheme(tell)


def test_the_model_of_an_error_is_json_where_the_route_answers_with_something_else() -> None:
    class Fault(BaseModel):
        detail: str

    app = FastAPI()
    app.add_api_route(
        "/",
        tell,
        response_class=PlainTextResponse,
        responses={404: {"model": Fault, "content": JSONContent()}},
    )

    content = app.openapi()["paths"]["/"]["get"]["responses"]["404"]["content"]

    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}


def test_what_depends_returns_is_a_dependency() -> None:
    assert isinstance(Depends(tell), Dependency)
