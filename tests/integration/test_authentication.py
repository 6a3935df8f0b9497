"""Who makes a request: the principal, its scopes, and the actor of the unit of work, in a small application."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import MetaData
from sqlalchemy.orm import Mapped
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from layered_backend import (
    Audited,
    BaseRepository,
    IntegerPrimaryKey,
    PermissionDeniedError,
    Projection,
    TenantScope,
    UnauthenticatedError,
    UnitOfWork,
    UnitOfWorkError,
    UOWDep,
    add_error_handlers,
    current_principal,
    get_projection,
    install,
    require_scopes,
    uow_dependency,
)
from layered_backend import Base as LibraryBase
from layered_backend.models import NAMING_CONVENTION
from layered_backend.security import AccessTokens, Principal
from tests.databases import Shop
from tests.shop import ItemRead, ItemRepository, ShopUnitOfWork


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Owned:
    tenant_id: Mapped[int]


class Note(IntegerPrimaryKey, Owned, Audited, Base):
    __tablename__ = "authenticated_notes"

    text: Mapped[str]


class NoteRead(BaseModel):
    text: str
    tenant_id: int
    created_by: str | None
    updated_by: str | None


def _tenant_of(principal: Principal) -> Any:
    return principal.claims.get("tenant_id")


class NotesUnitOfWork(UnitOfWork):
    scopes = (TenantScope(Owned, tenant=_tenant_of),)
    notes: BaseRepository[Note]


class _CountingTokens(AccessTokens):
    """Counts how often a token is verified."""

    verified = 0

    def verify(self, token: str) -> Principal:
        self.verified += 1
        return super().verify(token)


class ReportUnitOfWork(UnitOfWork):
    pass


Items = Annotated[Projection[ItemRead], Depends(get_projection(ItemRepository, ItemRead))]
ReportUOW = Annotated[ReportUnitOfWork, Depends(uow_dependency(ReportUnitOfWork))]

NotesUOW = Annotated[NotesUnitOfWork, Depends(uow_dependency(NotesUnitOfWork))]
Notes = Annotated[Projection[NoteRead], Depends(get_projection(BaseRepository[Note], NoteRead))]

router = APIRouter()


@router.get("/actor")
async def actor(uow: UOWDep) -> str | None:
    return None if uow.actor is None else str(uow.actor.subject)


@router.get("/required", dependencies=[Depends(require_scopes("items:write"))])
async def required() -> str:
    return "done"


@router.get("/both", dependencies=[Depends(require_scopes("items:write", "items:read"))])
async def both(
    uow: UOWDep, items: Items, principal: Annotated[Principal, Depends(require_scopes("items:write"))]
) -> list[str | None]:
    return [uow.actor.subject, principal.subject, str(len(await items.list()))]


def _tokens() -> _CountingTokens:
    return _CountingTokens("a key of thirty-two bytes or more", issuer="https://shop.example", audience="shop")


@dataclass
class Secured:
    """An application whose principal comes from tokens.

    Attributes:
        app: The application.
        tokens: What issues and verifies them.
        get_principal: Its dependency.
    """

    app: FastAPI
    tokens: _CountingTokens
    get_principal: Any

    async def get(self, path: str, headers: Any = None) -> httpx2.Response:
        async with _client(self.app) as client:
            return await client.get(path, headers=headers)

    def bearer(self, subject: str = "ann", *scopes: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens.issue(subject, scopes=scopes)}"}


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.fixture
def secured(sqlite_shop: Shop) -> Secured:
    tokens = _tokens()
    get_principal = current_principal(
        tokens,
        token_url="login",  # noqa: S106  # the place of a route
        scopes={"items:write": "Change items", "items:read": "Read items"},
    )
    app = FastAPI()
    install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_principal)
    app.include_router(router)

    @app.get("/me")
    async def me(principal: Annotated[Principal, Depends(get_principal)]) -> str:
        return principal.subject

    @app.get("/maybe")
    async def maybe(principal: Annotated[Principal | None, Depends(get_principal.optional)]) -> str | None:
        return None if principal is None else principal.subject

    @app.get("/scoped")
    async def scoped(principal: Annotated[Principal, Security(get_principal, scopes=["items:write"])]) -> str:
        return principal.subject

    return Secured(app, tokens, get_principal)


def _challenge(answer: httpx2.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.headers.get("www-authenticate")


class TestCurrentPrincipal:
    async def test_it_is_whom_the_token_names(self, secured: Secured) -> None:
        for path in ("/me", "/maybe"):
            assert (await secured.get(path, secured.bearer("ann"))).json() == "ann"

    @pytest.mark.parametrize("headers", [None, {"Authorization": ""}, {"Authorization": "Basic YW5uOnRlYQ=="}])
    async def test_without_a_token_the_answer_is_401(self, secured: Secured, headers: Any) -> None:
        answer = await secured.get("/me", headers)

        assert _challenge(answer) == (401, "Bearer")
        assert answer.json() == {"detail": "Not authenticated"}

    @pytest.mark.parametrize("path", ["/me", "/maybe", "/actor", "/required", "/scoped"])
    @pytest.mark.parametrize("credentials", ["Bearer", "Bearer ", "Bearer x.y.z", "bearer a b", "BEARER \xe4"])
    async def test_with_a_token_that_is_not_valid_the_answer_is_401_everywhere(
        self, secured: Secured, path: str, credentials: str
    ) -> None:
        answer = await secured.get(path, {"Authorization": credentials.encode("latin-1")})

        assert _challenge(answer) == (401, 'Bearer error="invalid_token"')
        assert answer.json() == {"detail": "The token is not valid"}

    async def test_of_two_tokens_none_is_chosen(self, secured: Secured) -> None:
        headers = [("Authorization", secured.bearer(name)["Authorization"]) for name in ("ann", "bob")]

        answer = await secured.get("/maybe", headers)

        assert _challenge(answer) == (401, 'Bearer error="invalid_token"')

    async def test_the_scheme_is_written_in_any_case(self, secured: Secured) -> None:
        headers = {"Authorization": secured.bearer()["Authorization"].replace("Bearer ", "bEARER  ")}

        assert (await secured.get("/me", headers)).json() == "ann"

    async def test_an_optional_one_is_none_without_a_token(self, secured: Secured) -> None:
        assert (await secured.get("/maybe")).json() is None

    async def test_security_asks_for_scopes(self, secured: Secured) -> None:
        assert (await secured.get("/scoped", secured.bearer("ann", "items:write"))).json() == "ann"

        assert _challenge(await secured.get("/scoped")) == (401, 'Bearer scope="items:write"')
        lacking = await secured.get("/scoped", secured.bearer("ann", "items:read"))
        assert _challenge(lacking) == (403, 'Bearer error="insufficient_scope", scope="items:write"')
        assert lacking.json() == {"detail": "This takes the scope items:write"}

    async def test_it_can_be_overridden_also_as_the_actor(self, secured: Secured) -> None:
        secured.app.dependency_overrides[secured.get_principal] = lambda: Principal("fake", frozenset({"items:write"}))

        assert [(await secured.get(path)).json() for path in ("/me", "/actor", "/required")] == ["fake", "fake", "done"]

    async def test_what_overrides_it_may_ask_for_the_connection_and_be_awaited(self, secured: Secured) -> None:
        async def by_header(connection: HTTPConnection) -> Principal:
            return Principal(connection.headers["X-User"])

        secured.app.dependency_overrides[secured.get_principal] = by_header

        assert (await secured.get("/actor", {"X-User": "bob"})).json() == "bob"


class TestRequireScopes:
    async def test_who_has_them_may(self, secured: Secured) -> None:
        headers = secured.bearer("ann", "items:read", "items:write")

        assert (await secured.get("/required", headers)).json() == "done"
        assert (await secured.get("/both", headers)).json() == ["ann", "ann", "0"]

    async def test_who_is_not_known_is_told_what_it_takes(self, secured: Secured) -> None:
        assert _challenge(await secured.get("/required")) == (401, 'Bearer scope="items:write"')

    async def test_who_lacks_one_is_told_which(self, secured: Secured) -> None:
        answer = await secured.get("/both", secured.bearer("ann", "items:write", "items:reader"))

        assert _challenge(answer) == (403, 'Bearer error="insufficient_scope", scope="items:write items:read"')
        assert answer.json() == {"detail": "This takes the scope items:read"}

    async def test_a_token_is_verified_once_a_request(self, secured: Secured) -> None:
        @secured.app.get("/all")
        async def everything(
            uow: UOWDep,
            items: Items,
            principal: Annotated[Principal, Security(secured.get_principal, scopes=["items:write"])],
            other: Annotated[Principal | None, Depends(secured.get_principal.optional)],
            actor: Annotated[Principal, Depends(require_scopes("items:write"))],
        ) -> bool:
            return uow.actor is principal is other is actor

        assert (await secured.get("/all", secured.bearer("ann", "items:write"))).json() is True
        assert secured.tokens.verified == 1

    async def test_without_an_installed_principal_it_says_what_to_write(self, sqlite_shop: Shop) -> None:
        app = FastAPI()
        install(app, ShopUnitOfWork, database=sqlite_shop.database)
        app.include_router(router)

        with pytest.raises(UnitOfWorkError, match=r"install\(app, ShopUnitOfWork, principal=get_principal\)"):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
                await client.get("/required")

    @pytest.mark.parametrize("scopes", [None, "items:write items:read"])
    async def test_an_actor_without_a_set_of_scopes_is_refused(self, sqlite_shop: Shop, scopes: Any) -> None:
        class User:
            pass

        async def get_user(connection: HTTPConnection) -> User:
            user = User()
            user.scopes = scopes  # type: ignore[attr-defined]  # pyright: ignore  # what is tested
            return user

        app = FastAPI()
        install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_user)
        app.include_router(router)

        with pytest.raises(UnitOfWorkError, match="an actor of type User needs `scopes`, a set of text"):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
                await client.get("/required")

    @pytest.mark.parametrize("scopes", [(), ("items:write items:read",), ("",), ('a"b',)])
    def test_what_is_no_scope_is_refused_when_it_is_written(self, scopes: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="scopes are words"):
            require_scopes(*scopes)

    def test_the_same_scopes_give_the_same_dependency(self) -> None:
        assert require_scopes("a", "b") is require_scopes("a", "b")
        assert require_scopes("a") is not require_scopes("b")


class TestActor:
    async def test_the_unit_of_work_has_it(self, secured: Secured) -> None:
        assert (await secured.get("/actor", secured.bearer("ann"))).json() == "ann"
        assert (await secured.get("/actor")).json() is None

    async def test_units_of_work_of_other_classes_have_it_too(self, secured: Secured, tmp_path: Any) -> None:
        ReportUnitOfWork.database = secured.app.state.layered_backend.database

        @secured.app.get("/reports")
        async def reports(reports: ReportUOW, shop: UOWDep) -> list[str]:
            assert reports is not shop
            return [reports.actor.subject, shop.actor.subject]

        assert (await secured.get("/reports", secured.bearer("ann"))).json() == ["ann", "ann"]
        assert secured.tokens.verified == 1

    async def test_it_is_whatever_the_application_makes_of_the_connection(self, sqlite_shop: Shop) -> None:
        calls: list[str] = []

        async def get_actor(connection: HTTPConnection) -> Principal:
            calls.append(connection.url.path)
            return Principal(connection.headers["X-User"], frozenset({"items:read", "items:write"}))

        app = FastAPI()
        install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_actor)
        app.include_router(router)
        async with _client(app) as client:
            paths = ["/actor", "/required", "/both"]
            answers = [(await client.get(path, headers={"X-User": "bob"})).json() for path in paths]

        assert answers == ["bob", "done", ["bob", "bob", "0"]]
        assert calls == paths, "it was asked more than once a request"

    async def test_nobody_is_asked_where_no_unit_of_work_opens(self, secured: Secured) -> None:
        @secured.app.get("/free")
        async def free() -> None:
            pass

        assert (await secured.get("/free", {"Authorization": "Bearer x"})).status_code == 200
        assert secured.tokens.verified == 0

    async def test_no_unit_of_work_opens_for_a_token_that_is_not_valid(self, secured: Secured) -> None:
        entered: list[str] = []

        class Watched(ShopUnitOfWork):
            async def __aenter__(self) -> Any:
                entered.append("entered")
                return await super().__aenter__()

        app = FastAPI()
        database = secured.app.state.layered_backend.database
        install(app, Watched, database=database, principal=secured.get_principal)
        app.include_router(router)
        async with _client(app) as client:
            answers = [
                (await client.get("/actor", headers=headers)).status_code
                for headers in ({"Authorization": "Bearer x"}, secured.bearer())
            ]

        assert answers == [401, 200]
        assert entered == ["entered"]

    @pytest.mark.parametrize("is_async", [True, False])
    def test_what_cannot_be_awaited_with_the_connection_alone_is_refused(
        self, sqlite_shop: Shop, is_async: bool
    ) -> None:
        async def needs_more(connection: HTTPConnection, uow: UOWDep) -> None:
            pass

        def is_synchronous(connection: HTTPConnection) -> None:
            pass

        source: Any = needs_more if is_async else is_synchronous
        with pytest.raises(TypeError, match=r"principal= is awaited with the connection alone"):
            install(FastAPI(), ShopUnitOfWork, database=sqlite_shop.database, principal=source)

    async def test_each_of_two_applications_in_a_process_has_its_own(self, secured: Secured) -> None:
        async def nobody(connection: HTTPConnection) -> None:
            return None

        other = FastAPI()
        install(other, ShopUnitOfWork, database=secured.app.state.layered_backend.database, principal=nobody)
        other.include_router(router)
        async with _client(other) as client:
            answer = await client.get("/required", headers=secured.bearer("ann", "items:write"))

        assert answer.status_code == 401
        assert (await secured.get("/required", secured.bearer("ann", "items:write"))).status_code == 200

    async def test_a_mounted_application_has_its_parents(self, secured: Secured) -> None:
        mounted = FastAPI()
        add_error_handlers(mounted)
        mounted.include_router(router)
        secured.app.mount("/mounted", mounted)

        assert (await secured.get("/mounted/actor", secured.bearer("ann"))).json() == "ann"
        assert (await secured.get("/mounted/required", secured.bearer("ann"))).status_code == 403
        assert (await secured.get("/mounted/required", secured.bearer("ann", "items:write"))).json() == "done"


_PASSWORD_FLOW: Any = {
    "type": "oauth2",
    "flows": {"password": {"tokenUrl": "login", "scopes": {"items:write": "Change items", "items:read": "Read items"}}},
}


class TestDocument:
    def _security(self, document: Any, path: str) -> Any:
        return document["paths"][path]["get"].get("security")

    async def test_it_names_the_principal_and_the_scopes_of_each_route(self, secured: Secured) -> None:
        document = (await secured.get("/openapi.json")).json()

        assert document["components"]["securitySchemes"] == {"OAuth2PasswordBearer": _PASSWORD_FLOW}
        assert self._security(document, "/me") == [{"OAuth2PasswordBearer": []}]
        assert self._security(document, "/scoped") == [{"OAuth2PasswordBearer": ["items:write"]}]
        assert self._security(document, "/required") == [{"OAuth2PasswordBearer": ["items:write"]}]
        assert sorted(self._security(document, "/both")[0]["OAuth2PasswordBearer"]) == ["items:read", "items:write"]
        assert self._security(document, "/actor") is None
        assert "parameters" not in document["paths"]["/required"]["get"]

    def test_a_script_gets_the_same_document(self, secured: Secured) -> None:
        document = secured.app.openapi()

        assert document["components"]["securitySchemes"] == {"OAuth2PasswordBearer": _PASSWORD_FLOW}

    async def test_that_of_a_mounted_application_names_its_parents_principal(self, secured: Secured) -> None:
        mounted = FastAPI()
        mounted.include_router(router)
        secured.app.mount("/mounted", mounted)

        document = (await secured.get("/mounted/openapi.json")).json()

        assert document["components"]["securitySchemes"] == {"OAuth2PasswordBearer": _PASSWORD_FLOW}
        assert self._security(document, "/required") == [{"OAuth2PasswordBearer": ["items:write"]}]

    async def test_a_principal_that_the_application_has_made_is_a_bearer(self, sqlite_shop: Shop) -> None:
        async def get_actor(connection: HTTPConnection) -> None:
            return None

        app = FastAPI()
        install(app, ShopUnitOfWork, database=sqlite_shop.database, principal=get_actor)
        app.include_router(router)
        document = app.openapi()

        schemes = document["components"]["securitySchemes"]
        assert schemes == {"Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        assert self._security(document, "/required") == [{"Bearer": ["items:write"]}]

    async def test_the_documents_of_two_applications_name_each_its_own(self, secured: Secured) -> None:
        other = FastAPI()
        named = current_principal(_tokens(), scheme_name="Other")
        install(other, ShopUnitOfWork, database=secured.app.state.layered_backend.database, principal=named)
        other.include_router(router)

        assert list(other.openapi()["components"]["securitySchemes"]) == ["Other"]
        assert list(secured.app.openapi()["components"]["securitySchemes"]) == ["OAuth2PasswordBearer"]


class TestWebSockets:
    @pytest.fixture
    def app(self, secured: Secured) -> FastAPI:
        @secured.app.websocket("/socket")
        async def socket(
            websocket: WebSocket, principal: Annotated[Principal, Security(secured.get_principal, scopes=["chat"])]
        ) -> None:
            await websocket.accept()
            await websocket.send_text(principal.subject)
            raise PermissionDeniedError("that is enough")

        return secured.app

    async def test_they_have_a_principal_too(self, app: FastAPI, secured: Secured) -> None:
        def talk() -> tuple[str, int]:
            with TestClient(app).websocket_connect("/socket", headers={**secured.bearer("ann", "chat")}) as connection:
                subject = connection.receive_text()
                with pytest.raises(WebSocketDisconnect) as caught:
                    connection.receive_text()
                return subject, caught.value.code

        assert await asyncio.to_thread(talk) == ("ann", 1008)

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}])
    async def test_one_of_nobody_is_not_accepted(self, app: FastAPI, headers: dict[str, str]) -> None:
        def talk() -> None:
            with TestClient(app).websocket_connect("/socket", headers=headers):
                raise AssertionError

        with pytest.raises(WebSocketDisconnect) as caught:
            await asyncio.to_thread(talk)

        assert caught.value.code == 1008


class TestTenants:
    """The principal reaches the scopes and the stamps: from the header to the row."""

    @pytest.fixture
    async def notes(self, async_shop: Shop) -> AsyncGenerator[Secured]:
        await async_shop.database.create_all(Base.metadata)
        tokens = _tokens()
        get_principal = current_principal(tokens)
        app = FastAPI()
        install(app, NotesUnitOfWork, database=async_shop.database, principal=get_principal)

        @app.post("/notes")
        async def create(text: str, uow: NotesUOW) -> int:
            return (await uow.notes.create({"text": text})).id

        @app.patch("/notes/{note_id}")
        async def change(note_id: int, text: str, uow: NotesUOW) -> None:
            await uow.notes.update(note_id, {"text": text})

        @app.get("/notes")
        async def read(notes: Notes) -> Sequence[NoteRead]:
            return await notes.list()

        yield Secured(app, tokens, get_principal)
        await async_shop.run(
            lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection()))
        )

    async def test_each_sees_the_rows_of_their_tenant_and_stamps_what_they_write(self, notes: Secured) -> None:
        ann, bob, eve = (
            {"Authorization": f"Bearer {notes.tokens.issue(name, claims={'tenant_id': tenant})}"}
            for name, tenant in (("ann", 1), ("bob", 1), ("eve", 2))
        )
        async with _client(notes.app) as client:
            note_id = (await client.post("/notes", params={"text": "tea"}, headers=ann)).json()
            changed = await client.patch(f"/notes/{note_id}", params={"text": "mate"}, headers=bob)
            foreign = await client.patch(f"/notes/{note_id}", params={"text": "mine"}, headers=eve)
            seen = [(await client.get("/notes", headers=headers)).json() for headers in (ann, bob, eve)]
            nobody = await client.get("/notes")

        assert (changed.status_code, foreign.status_code, nobody.status_code) == (200, 404, 403)
        row = {"text": "mate", "tenant_id": 1, "created_by": "ann", "updated_by": "bob"}
        assert seen == [[row], [row], []]


async def test_a_scope_that_no_header_can_hold_is_left_out(secured: Secured) -> None:
    @secured.app.get("/odd")
    async def odd() -> None:
        raise UnauthenticatedError(scopes=('b\u00fccher\r\nX-Evil: "1"',))

    assert _challenge(await secured.get("/odd")) == (401, 'Bearer scope="bcherX-Evil: 1"')
