"""An id for each request, in its response and in its log lines."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from layered_backend import Database, NotFoundError, RequestIdFilter, current_request_id, install
from layered_backend.fastapi.request_ids import RequestIds
from layered_backend.request_ids import SANE_REQUEST_ID
from tests.shop import ShopUnitOfWork

MADE = re.compile("[0-9a-f]{32}")

_logger = logging.getLogger("shop.deep.below")


def application(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=Database("sqlite://"), **options)

    @app.get("/")
    async def read() -> str | None:
        _logger.warning("in the handler")
        await asyncio.to_thread(_logger.warning, "in a thread")
        await asyncio.create_task(_log("in a task"))
        return current_request_id()

    @app.get("/thread")
    def read_in_thread() -> str | None:
        return current_request_id()

    @app.get("/missing")
    async def missing() -> None:
        raise NotFoundError("Item")

    @app.get("/broken")
    async def broken() -> None:
        raise KeyError("of the handler")

    @app.get("/number/{number}")
    async def read_number(number: int) -> int:
        return number

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for _ in range(2):
                await asyncio.sleep(0)
                yield f"{current_request_id()}\n"

        return StreamingResponse(lines())

    @app.get("/own")
    async def own() -> StreamingResponse:
        return StreamingResponse(iter(()), headers={"x-request-id": "of another service"})

    return app


async def _log(message: str) -> None:
    _logger.warning(message)


@asynccontextmanager
async def client_of(app: ASGIApp) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


async def get(app: ASGIApp, path: str = "/", **options: Any) -> httpx2.Response:
    async with client_of(app) as client:
        return await client.get(path, **options)


class TestTheHeader:
    async def test_an_id_is_made_for_each_request(self) -> None:
        app = application()

        first, second = await get(app), await get(app)

        assert MADE.fullmatch(first.headers["x-request-id"])
        assert first.json() == first.headers["x-request-id"]
        assert first.json() != second.json()
        assert current_request_id() is None

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/", 200),
            ("/thread", 200),
            ("/missing", 404),
            ("/nowhere", 404),
            ("/number/one", 422),
            ("/broken", 500),
            ("/streamed", 200),
            ("/own", 200),
        ],
    )
    async def test_every_response_has_the_one_that_was_sent(self, path: str, status: int) -> None:
        response = await get(application(), path, headers={"X-Request-ID": "abc-1"})

        assert response.status_code == status
        assert response.headers.get_list("x-request-id") == ["abc-1"]
        if path == "/streamed":
            assert response.text == "abc-1\nabc-1\n"

    @pytest.mark.parametrize(
        "sent", ["", " ", "a b", "a\tb", "a" * 129, "<script>", "${jndi:ldap}", "ä", "a,b", "a;b", "\x1b[31m", 'a"b']
    )
    async def test_one_that_is_not_sane_is_replaced(self, sent: str) -> None:
        response = await get(application(), headers={"X-Request-ID": sent.encode("latin-1")})

        assert MADE.fullmatch(response.headers["x-request-id"])

    async def test_middleware_that_is_added_later_is_inside_too(self) -> None:
        app = application()
        seen: list[str | None] = []

        class Breaking:
            def __init__(self, app: ASGIApp) -> None:
                self._app = app

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                seen.append(current_request_id())
                raise KeyError("of the middleware")

        app.add_middleware(Breaking)
        response = await get(app, headers={"X-Request-ID": "abc-1"})

        assert (response.status_code, response.headers["x-request-id"]) == (500, "abc-1")
        assert seen == ["abc-1"]

    async def test_a_mounted_application_goes_on_with_it(self) -> None:
        app, inner = application(), application()
        app.mount("/inner", inner)

        response = await get(app, "/inner/")

        assert response.headers.get_list("x-request-id") == [response.json()]

    async def test_it_can_be_left_out(self) -> None:
        response = await get(application(request_ids=False), headers={"X-Request-ID": "abc-1"})

        assert "x-request-id" not in response.headers
        assert response.json() is None

    def test_a_websocket_has_one(self) -> None:
        app = application()

        @app.websocket("/")
        async def talk(websocket: WebSocket) -> None:
            await websocket.accept(headers=[(b"x-shop", b"tea")])
            await websocket.send_text(str(current_request_id()))

        with (
            TestClient(app) as client,
            client.websocket_connect("/", headers={"X-Request-ID": "abc-1"}) as socket,
        ):
            assert socket.receive_text() == "abc-1"
            assert (b"x-request-id", b"abc-1") in list(socket.extra_headers or ())

    @given(st.binary(max_size=200))
    def test_nothing_that_is_sent_can_forge_a_line(self, sent: bytes) -> None:
        taken: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            taken.append(str(current_request_id()))

        async def nothing(*_: object) -> Any: ...

        scope = {"type": "http", "headers": [(b"x-request-id", sent)]}
        asyncio.run(_called(RequestIds(app), scope, nothing))

        assert SANE_REQUEST_ID.fullmatch(taken[0])
        assert taken[0] == sent.decode("latin-1") or MADE.fullmatch(taken[0])


async def _called(app: ASGIApp, scope: Any, nothing: Any) -> None:
    await app(scope, nothing, nothing)


class TestTheLog:
    async def test_each_line_of_a_request_has_its_id(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.handler.addFilter(RequestIdFilter())
        app = application()

        async with client_of(app) as client:
            ids = [f"request-{number}" for number in range(20)]
            await asyncio.gather(*(client.get("/", headers={"X-Request-ID": each}) for each in ids))
        _logger.warning("outside")

        lines = [
            (record.__dict__["request_id"], record.message) for record in caplog.records if "in " in record.message
        ]
        assert sorted(lines) == sorted(
            (each, message) for each in ids for message in ("in the handler", "in a thread", "in a task")
        )
        assert caplog.records[-1].__dict__["request_id"] == "-"

    def test_a_record_that_has_an_id_keeps_it(self) -> None:
        record = logging.makeLogRecord({"request_id": "of elsewhere"})

        assert RequestIdFilter().filter(record)
        assert record.__dict__["request_id"] == "of elsewhere"
