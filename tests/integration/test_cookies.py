"""A token in a cookie, which a browser sends along with whatever another site's page asks it to send."""

from collections.abc import Mapping
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from layered_backend import UOWDep, current_principal, install
from layered_backend.security import AccessTokens, Principal
from tests.databases import Shop
from tests.shop import ShopUnitOfWork

_TOKENS = AccessTokens("a key of thirty-two bytes or more", issuer="https://shop.example", audience="shop")
_FORGED = {"detail": "The request comes from another site"}


@pytest.fixture
def app(sqlite_shop: Shop) -> FastAPI:
    get_principal = current_principal(_TOKENS, cookie="session")
    app = FastAPI()
    install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_principal)

    @app.api_route("/me", methods=["GET", "POST", "PUT", "DELETE"])
    async def me(principal: Annotated[Principal, Depends(get_principal)]) -> str:
        return principal.subject

    @app.post("/actor")
    async def actor(uow: UOWDep) -> str | None:
        return None if uow.actor is None else str(uow.actor.subject)

    @app.websocket("/live")
    async def live(websocket: WebSocket, principal: Annotated[Principal, Depends(get_principal)]) -> None:
        await websocket.accept()
        await websocket.send_text(principal.subject)

    return app


async def _ask(
    app: FastAPI, method: str, path: str, headers: Mapping[str, str] | None = None, *, cookie: str | None = None
) -> httpx2.Response:
    given = {"Cookie": f"other=1; session={_TOKENS.issue('ann') if cookie is None else cookie}", **(headers or {})}
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        return await client.request(method, path, headers=given)


async def test_it_names_the_principal(app: FastAPI) -> None:
    assert (await _ask(app, "GET", "/me")).json() == "ann"
    assert (await _ask(app, "POST", "/actor")).json() == "ann"


async def test_the_header_goes_first(app: FastAPI) -> None:
    headers = {"Authorization": f"Bearer {_TOKENS.issue('bob')}", "Sec-Fetch-Site": "cross-site"}

    assert (await _ask(app, "POST", "/me", headers)).json() == "bob"  # no page can make a browser send that header
    refused = await _ask(app, "GET", "/me", {"Authorization": "Bearer x"})
    assert refused.status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "x.y.z"])
async def test_one_that_is_not_valid_counts_as_none(app: FastAPI, cookie: str) -> None:
    assert (await _ask(app, "POST", "/actor", {"Sec-Fetch-Site": "cross-site"}, cookie=cookie)).json() is None
    assert (await _ask(app, "GET", "/me", cookie=cookie)).status_code == 401


async def test_no_cookie_is_looked_at_unless_it_is_named(sqlite_shop: Shop) -> None:
    app = FastAPI()
    get_principal = current_principal(_TOKENS)
    install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_principal)

    @app.get("/me")
    async def me(principal: Annotated[Principal, Depends(get_principal)]) -> str:
        return principal.subject

    assert (await _ask(app, "GET", "/me")).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://shop.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://shop.example:8080"},
        {"Origin": "http://shop.example.evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
async def test_what_another_site_sends_is_refused(app: FastAPI, method: str, headers: dict[str, str]) -> None:
    answer = await _ask(app, method, "/me", headers)

    assert (answer.status_code, answer.json()) == (403, _FORGED)


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no browser
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://shop.example"},
    ],
    ids=str,
)
async def test_what_the_own_site_sends_is_taken(app: FastAPI, headers: dict[str, str]) -> None:
    assert (await _ask(app, "POST", "/me", headers)).json() == "ann"


async def test_a_link_from_another_site_may_be_followed(app: FastAPI) -> None:
    assert (await _ask(app, "GET", "/me", {"Sec-Fetch-Site": "cross-site"})).json() == "ann"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
def test_no_websocket_is_opened_for_another_site(app: FastAPI, headers: dict[str, str]) -> None:
    cookie: dict[str, Any] = {"session": _TOKENS.issue("ann")}
    with TestClient(app, cookies=cookie) as client:
        with client.websocket_connect("/live", headers={"Origin": "http://testserver"}) as socket:
            assert socket.receive_text() == "ann"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live", headers=headers):
            pass
