"""Routers of `crud_router` over HTTP, on each database."""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import create_autospec

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import update

from layered_backend import (
    BaseRepository,
    CursorParams,
    OffsetParams,
    Page,
    PageParams,
    PermissionDeniedError,
    UOWDep,
    add_error_handlers,
    crud_router,
    error_responses,
    get_service,
    install,
)
from tests.databases import Shop
from tests.stall import (
    PaperCreate,
    PaperRead,
    PaperService,
    PaperUpdate,
    Place,
    PlaceCreate,
    PlaceService,
    PlaceUpdate,
    Product,
    ProductCreate,
    ProductCursorQuery,
    ProductQuery,
    ProductRead,
    ProductRepository,
    ProductService,
    ProductUpdate,
    ProductWithMaker,
    StallUnitOfWork,
    tables_in,
)
from tests.statements import Statements

get_product_service = get_service(ProductService, ProductRepository, Product)
BODIES = [
    (b'{"name": "tea", "pri', "application/json", 422),
    (b"", "application/json", 422),
    (b"[1]", "application/json", 422),
    (b"null", "application/json", 422),
    (b'"tea"', "application/json", 422),
    (b"name=tea&price=1", "application/x-www-form-urlencoded", 422),
    (b'{"name": "tea", "price": 1}', "text/plain", 422),
    (b"\xff\xfe{", "application/json", 400),
    (b"[" * 100_000, "application/json", 400),
    (b'{"name": "tea", "price": 1, "amount": ' + b"9" * 5_000 + b"}", "application/json", 400),
    (b'{"name": "tea", "price": 1, "amount": ' + b"9" * 30 + b"}", "application/json", 422),
    (b'{"name": "tea", "price": NaN}', "application/json", 422),
    (b'{"name": "tea", "price": Infinity}', "application/json", 422),
    (b'{"name": "tea", "price": 1e400}', "application/json", 422),
    (b'{"name": "tea", "price": "1e-30000"}', "application/json", 422),
    (b'{"name": "\\ud800", "price": 1}', "application/json", 422),
    (b'{"name": "tea", "price": 1, "made_on": "10000-01-01"}', "application/json", 422),
    (b'{"name": "tea", "price": 1, "made_on": 1e300}', "application/json", 422),
    (b'{"name": {"a": 1}, "price": 1}', "application/json", 422),
]
QUERIES = [
    (f"page={10**30}", 422),
    (f"page={(2**63 - 1) // 100}&size=100", 200),
    (f"page={2**63 - 1}&size=1", 422),
    (f"page={2**62}&size=100", 422),
    ("page=0", 422),
    ("size=101", 422),
    ("sort=secret", 422),
    ("unknown=1", 422),
    (f"amount={10**30}", 422),
    ("cheaper_than=NaN", 422),
    ("name=%00", 422),
    ("name=%ff", 200),
    ("name=%ed%a0%80", 200),
    ("sort=", 200),
]
METHODS = ("GET", "PUT", "PATCH", "DELETE")
TEA = {"name": "tea", "price": "3.5"}


@pytest.fixture
async def stall(async_shop: Shop) -> AsyncGenerator[Shop]:
    async with tables_in(async_shop):
        yield async_shop


@pytest.fixture
async def small(sqlite_shop: Shop) -> AsyncGenerator[Shop]:
    async with tables_in(sqlite_shop):
        yield sqlite_shop


def products(get: Any = get_product_service, **options: Any) -> APIRouter:
    usual: dict[str, Any] = {"read": ProductRead, "create": ProductCreate, "update": ProductUpdate}
    usual["query"] = ProductQuery
    return crud_router(get, **(usual | options))


def application(shop: Shop, router: APIRouter, prefix: str = "/products") -> FastAPI:
    app = FastAPI()
    install(app, StallUnitOfWork, database=shop.database)
    app.include_router(router, prefix=prefix)
    return app


@asynccontextmanager
async def client_of(app: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://stall") as client:
        yield client


def serving(shop: Shop, **options: Any) -> Any:
    return client_of(application(shop, products(**options)))


class TestTheOperations:
    async def test_a_row_is_created_read_listed_changed_replaced_and_deleted(self, stall: Shop) -> None:
        async with serving(stall) as client:
            created = await client.post("/products", json=TEA | {"note": "green", "color": "red"})
            path = created.headers["Location"]
            read = await client.get(path)
            listed = await client.get("/products", params={"name": "E", "sort": "-price"})
            nulled = await client.patch(path, json={"note": None})
            replaced = await client.put(path, json={"name": "tee", "price": 4})
            deleted = await client.delete(path)
            gone = [await client.request(method, path, json=TEA) for method in ("GET", "PATCH", "PUT", "DELETE")]

        assert (created.status_code, path) == (201, f"/products/{created.json()['id']}")
        assert created.json().keys() == ProductRead.model_fields.keys()
        assert read.json() == created.json()
        assert listed.json() == {"items": [read.json()], "total": 1, "page": 1, "size": 50, "pages": 1}
        assert nulled.json() == read.json() | {"note": None}
        assert replaced.json() == {**read.json(), "name": "tee", "price": "4", "note": None, "color": "white"}
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert {(answer.status_code, answer.json()["detail"]) for answer in gone} == {(404, "Product not found")}

    async def test_what_a_replacement_omits_gets_its_default_and_what_it_cannot_name_stays(self, stall: Shop) -> None:
        given = {"note": "x", "amount": 1, "color": "red", "finish": "gloss", "shade": "light", "made_on": "2020-01-02"}
        async with serving(stall) as client:
            path = (await client.post("/products", json=TEA | given)).headers["Location"]
            async with StallUnitOfWork(stall.database) as uow:
                await uow.products.update(1, {"secret": "kept"})
            await client.put(path, json=TEA)

        async with StallUnitOfWork(stall.database) as uow:
            tea = await uow.products.one()
        assert (tea.note, tea.amount, tea.made_on, tea.color, tea.finish, tea.shade, tea.secret) == (
            *(None, None, None),
            *("white", "matt", "dark", "kept"),
        )

    async def test_no_field_leaves_that_the_schema_does_not_name(self, stall: Shop) -> None:
        async with serving(stall) as client:
            created = await client.post("/products", json=TEA)
            path = created.headers["Location"]
            answers = [
                created,
                await client.get(path),
                await client.get("/products"),
                await client.patch(path, json={"note": "x"}),
                await client.put(path, json=TEA),
            ]

        assert not [answer for answer in answers if "hidden" in answer.text or "secret" in answer.text]

    async def test_cursor_pages_are_walked_to_the_end(self, stall: Shop) -> None:
        async with serving(stall, query=ProductCursorQuery) as client:
            for name in "abcde":
                await client.post("/products", json={"name": name, "price": 1})
            names: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                params = {"size": 2, "sort": "price,-name"} | ({"cursor": cursor} if cursor else {})
                page = (await client.get("/products", params=params)).json()
                names += [item["name"] for item in page["items"]]
                cursor = page["next"]
            broken = await client.get("/products", params={"cursor": "\u2603"})

        assert names == list("edcba")
        assert broken.status_code == 422

    async def test_conflicts_and_unfit_data_are_answered_with_a_sentence(self, stall: Shop) -> None:
        async with serving(stall) as client:
            await client.post("/products", json=TEA)
            duplicate = await client.post("/products", json=TEA)
            dangling = await client.post("/products", json={"name": "tee", "price": 1, "maker_id": 99})
            nul = await client.post("/products", json={"name": "\0", "price": 1})
            large = await client.post("/products", json={"name": "x", "price": 1, "amount": 10**30})

        assert (duplicate.status_code, dangling.status_code) == (409, 409)
        assert (nul.status_code, large.status_code) == (422, 422)
        assert nul.json() == {"detail": "Text with a NUL character or half of a surrogate pair does not fit name"}
        assert large.json() == {"detail": "A number of this size does not fit amount"}


class TestKeys:
    async def test_a_composite_key_has_a_segment_for_each_part(self, stall: Shop) -> None:
        router = crud_router(get_service(PlaceService), read=PlaceCreate, create=PlaceCreate, update=PlaceUpdate)
        async with client_of(application(stall, router, "/places")) as client:
            created = await client.post("/places", json={"warehouse": "n\u00f6 & co?", "item_code": 7, "amount": 1})
            path = created.headers["Location"]
            changed = await client.patch(path, json={"amount": 2})
            replaced = await client.put(path, json={"warehouse": "n\u00f6 & co?", "item_code": 7, "amount": 3})
            moved = await client.put(path, json={"warehouse": "s", "item_code": 7, "amount": 3})
            missing = [await client.get(f"/places/{key}") for key in ("north/8", f"north/{10**30}", "no%00rth/7")]
            unfit = await client.get("/places/north/seven")

        assert path == "/places/n%C3%B6%20%26%20co%3F/7"
        assert (changed.json()["amount"], replaced.json()["amount"]) == (2, 3)
        assert (moved.status_code, moved.json()) == (
            409,
            {"detail": "Place.warehouse is another than the key of what is replaced"},
        )
        assert [answer.status_code for answer in missing] == [404, 404, 404]
        assert unfit.status_code == 422

    async def test_a_uuid_is_typed_and_a_replacement_keeps_it(self, stall: Shop) -> None:
        router = crud_router(get_service(PaperService), read=PaperRead, create=PaperCreate, update=PaperUpdate)
        app = application(stall, router, "/papers")
        async with client_of(app) as client:
            created = await client.post("/papers", json={"title": "a"})
            replaced = await client.put(created.headers["Location"], json={"title": "b"})
            missing = await client.get(f"/papers/{uuid.uuid4()}")

        (parameter,) = app.openapi()["paths"]["/papers/{id}"]["get"]["parameters"]
        assert replaced.json() == created.json() | {"title": "b"}
        assert missing.status_code == 404
        assert (parameter["name"], parameter["schema"]["format"]) == ("id", "uuid")

    @pytest.mark.parametrize("warehouse", ["", ".", "..", "a/b"])
    async def test_a_key_that_no_path_can_hold_is_refused(self, warehouse: str, small: Shop) -> None:
        router = crud_router(get_service(PlaceService), read=PlaceCreate, create=PlaceCreate, only=["create"])
        async with client_of(application(small, router, "/places")) as client:
            answer = await client.post("/places", json={"warehouse": warehouse, "item_code": 7, "amount": 1})

        async with StallUnitOfWork(small.database) as uow:
            assert not await uow.repository(BaseRepository[Place]).exists()
        assert answer.status_code == 422
        assert answer.json() == {"detail": "Place.warehouse cannot be part of a path; choose another value"}


class TestLocation:
    async def test_it_holds_under_a_mount_a_root_path_and_a_prefix_with_parameters(self, small: Shop) -> None:
        inner = FastAPI()
        add_error_handlers(inner)
        inner.include_router(products(), prefix="/of/{owner}")
        inner.include_router(products(), prefix="/again")
        outer = FastAPI()
        install(outer, StallUnitOfWork, database=small.database)
        outer.mount("/shop", inner)
        transport = httpx2.ASGITransport(outer, root_path="/api")
        async with httpx2.AsyncClient(transport=transport, base_url="http://stall") as client:
            again = await client.post("/api/shop/again", json=TEA)
            created = await client.post("/api/shop/of/a%20b", json=TEA | {"name": "b"})
            read = await client.get(created.headers["Location"])

        assert again.headers["Location"] == "/api/shop/again/1"
        assert created.headers["Location"] == "/api/shop/of/a%20b/2"
        assert read.json() == created.json()

    async def test_it_has_what_a_proxy_has_taken_off(self, small: Shop) -> None:
        transport = httpx2.ASGITransport(application(small, products()), root_path="/api")
        async with httpx2.AsyncClient(transport=transport, base_url="http://stall") as client:
            created = await client.post("/products", json=TEA)

        assert created.headers["Location"] == "/api/products/1"


class TestVersions:
    async def test_each_answer_has_the_tag_of_the_version(self, stall: Shop) -> None:
        async with serving(stall) as client:
            created = await client.post("/products", json=TEA)
            path = created.headers["Location"]
            read = await client.get(path)
            changed = await client.patch(path, json={"note": "x"})
            replaced = await client.put(path, json=TEA)

        assert [answer.headers["ETag"] for answer in (created, read, changed, replaced)] == ['"1"', '"1"', '"2"', '"3"']

    @pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
    async def test_a_write_holds_to_the_version_that_was_read(self, method: str, stall: Shop) -> None:
        async with serving(stall) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            others = [
                await client.request(method, path, json=TEA, headers={"If-Match": tag})
                for tag in ('"2"', 'W/"1"', "1", "", '"2", "3"')
            ]
            right = await client.request(method, path, json=TEA, headers={"If-Match": '"0", "1"'})
            missing = await client.request(method, "/products/99", json=TEA, headers={"If-Match": "*"})

        assert [answer.status_code for answer in others] == [412] * 5
        assert others[0].json() == {"detail": "The row has changed since it was read"}
        assert (right.status_code, missing.status_code) == (204 if method == "DELETE" else 200, 404)

    @pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
    async def test_it_may_be_required(self, method: str, stall: Shop) -> None:
        async with serving(stall, require_match=True) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            without = await client.request(method, path, json=TEA)
            star = await client.request(method, path, json=TEA, headers={"If-Match": "*"})

        assert (without.status_code, star.status_code) == (428, 204 if method == "DELETE" else 200)

    async def test_a_change_between_the_check_and_the_write_is_412_and_without_a_condition_409(
        self, small: Shop
    ) -> None:
        class Overtaken(ProductService):
            async def update(self, key: Any, data: ProductUpdate, **options: Any) -> Product:
                entity = await self.repository.get(key) if data.note == "held" else None
                await self.uow.session.execute(
                    update(Product).values(version=7), execution_options={"synchronize_session": False}
                )
                return await super().update(key if entity is None else entity, data, **options)

        async with serving(small, get=get_service(Overtaken)) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            conditional = await client.patch(path, json={"note": "x"}, headers={"If-Match": '"1"'})
            plain = await client.patch(path, json={"note": "held"})

        assert (conditional.status_code, plain.status_code) == (412, 409)

    async def test_a_version_that_the_client_has_is_not_sent_again(self, stall: Shop) -> None:
        async with serving(stall) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            known = [await client.get(path, headers={"If-None-Match": tag}) for tag in ('"1"', '"0", W/"1"', "*")]
            other = await client.get(path, headers={"If-None-Match": '"2"'})

        assert [(answer.status_code, answer.content, answer.headers["ETag"]) for answer in known] == [
            (304, b"", '"1"')
        ] * 3
        assert (other.status_code, other.json()["name"]) == (200, "tea")

    async def test_what_has_rows_of_others_in_it_is_always_sent(self, small: Shop) -> None:
        async with serving(small, read=ProductWithMaker) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            read = await client.get(path, headers={"If-None-Match": '"1"'})

        assert (read.status_code, read.headers["ETag"]) == (200, '"1"')

    async def test_rows_without_versions_meet_no_condition_but_that_they_are_there(self, small: Shop) -> None:
        router = crud_router(get_service(PlaceService), read=PlaceCreate, create=PlaceCreate, update=PlaceUpdate)
        async with client_of(application(small, router, "/places")) as client:
            created = await client.post("/places", json={"warehouse": "n", "item_code": 7, "amount": 1})
            path = created.headers["Location"]
            named = await client.patch(path, json={"amount": 2}, headers={"If-Match": '"1"'})
            star = await client.patch(path, json={"amount": 2}, headers={"If-Match": "*"})

        assert "ETag" not in created.headers
        assert (named.status_code, named.json()) == (
            412,
            {"detail": "The row has no versions that If-Match could name"},
        )
        assert star.status_code == 200


class TestNestedRows:
    async def test_they_are_read_in_a_bounded_number_of_statements(self, stall: Shop) -> None:
        async with StallUnitOfWork(stall.database) as uow:
            maker = await uow.makers.create({"name": "Ann"})
        async with serving(stall, read=ProductWithMaker) as client:
            with Statements(stall) as writing:
                created = await client.post("/products", json=TEA | {"maker_id": maker.id})
            path = created.headers["Location"]
            changed = await client.patch(path, json={"note": "x"})
            replaced = await client.put(path, json=TEA)
            await client.put(path, json=TEA | {"maker_id": maker.id})
            for name in "abc":
                await client.post("/products", json={"name": name, "price": 1, "maker_id": maker.id})
            with Statements(stall) as reading:
                listed = await client.get("/products")

        assert created.json()["maker"] == changed.json()["maker"] == {"name": "Ann"}
        assert replaced.json()["maker"] is None
        assert [item["maker"] for item in listed.json()["items"]] == [{"name": "Ann"}] * 4
        assert len(writing.sent) <= 4  # the row, what the database computed, the row and its maker
        assert len(reading.sent) == 1, "the maker comes by a join"

    async def test_a_service_of_its_own_is_asked_for_entities_with_all_that_leaves(self, small: Shop) -> None:
        class Own(ProductService):
            async def get(self, key: Any, *, options: Sequence[Any] = ()) -> Product:
                return await super().get(key, options=options)

            async def page(self, params: PageParams | OffsetParams, /, *where: Any, **options: Any) -> Page[Product]:
                return await super().page(params, *where, **options)

        async with StallUnitOfWork(small.database) as uow:
            maker = await uow.makers.create({"name": "Ann"})
        async with serving(small, get=get_service(Own), read=ProductWithMaker) as client:
            path = (await client.post("/products", json=TEA | {"maker_id": maker.id})).headers["Location"]
            read = await client.get(path)
            listed = await client.get("/products")

        assert read.json()["maker"] == {"name": "Ann"}
        assert listed.json()["items"] == [read.json()]


async def _refuse(*arguments: Any, **options: Any) -> Any:
    raise PermissionDeniedError


def _with(base: type[Any], **members: Any) -> Any:
    return type(f"Guarded{base.__name__}", (base,), members)


class NoProducts(ProductRepository):
    def select(self, *where: Any) -> Any:
        return super().select(*where, Product.id < 0)

    async def page(self, params: PageParams | OffsetParams, /, *where: Any, **options: Any) -> Any:
        return await super().page(params, *where, Product.id < 0, **options)


class TestOverrides:
    """A rule in an override is never passed by, wherever it stands."""

    @pytest.mark.parametrize(
        ("members", "request_line", "options"),
        [
            ({"get": _refuse}, "GET /products/1", {}),
            ({"list": _refuse}, "GET /products", {}),
            ({"page": _refuse}, "GET /products", {}),
            ({"cursor_page": _refuse}, "GET /products", {"query": ProductCursorQuery}),
            ({"create": _refuse}, "POST /products", {}),
            ({"update": _refuse}, "PATCH /products/1", {}),
            ({"update": _refuse}, "PUT /products/1", {}),
            ({"replace": _refuse}, "PUT /products/1", {}),
            ({"delete": _refuse}, "DELETE /products/1", {}),
        ],
    )
    @pytest.mark.parametrize("place", ["class", "base", "override", "instance"])
    async def test_of_the_service(
        self, place: str, members: dict[str, Any], request_line: str, options: dict[str, Any], small: Shop
    ) -> None:
        guarded = _with(ProductService, **members)

        async def get_it(uow: UOWDep) -> ProductService:
            service = ProductService.of(uow)
            vars(service).update(members)
            return service

        async with StallUnitOfWork(small.database) as uow:
            await uow.products.create(TEA)
        served = {"class": guarded, "base": _with(guarded)}.get(place)
        app = application(small, products(get_service(served) if served else get_product_service, **options))
        if place == "override":
            app.dependency_overrides[get_product_service] = get_service(guarded)
        if place == "instance":
            app.dependency_overrides[get_product_service] = get_it
        method, path = request_line.split()
        async with client_of(app) as client:
            answer = await client.request(method, path, json=None if method == "GET" else TEA)

        assert (answer.status_code, answer.json()) == (403, {"detail": "Permission denied"})

    async def test_of_the_repository(self, small: Shop) -> None:
        async with StallUnitOfWork(small.database) as uow:
            await uow.products.create(TEA)
        refusing = _with(ProductRepository, get_or_none=_refuse)
        listing = _with(ProductRepository, list=_refuse)
        statuses: list[int] = []
        for repository, path in ((refusing, "/products/1"), (listing, "/products")):
            app = application(small, products(get_service(ProductService, repository, Product)))
            async with client_of(app) as client:
                statuses.append((await client.get(path)).status_code)
        app = application(small, products())
        app.dependency_overrides[get_product_service] = get_service(ProductService, NoProducts, Product)
        async with client_of(app) as client:
            hidden = (await client.get("/products")).json()

        assert statuses == [403, 403]
        assert (hidden["items"], hidden["total"]) == ([], 0)

    async def test_of_the_property_that_gives_the_repository(self, small: Shop) -> None:
        class Hiding(ProductService):
            @property
            def repository(self) -> ProductRepository:
                return NoProducts(self.uow.session)

        async with serving(small, get=get_service(Hiding)) as client:
            await client.post("/products", json=TEA)
            listed = await client.get("/products")

        assert listed.json()["items"] == []

    async def test_a_list_of_its_own_is_counted_as_it_lists(self, stall: Shop) -> None:
        class Cheap(ProductService):
            async def list(self, *where: Any, **options: Any) -> Sequence[Product]:
                return await super().list(*where, Product.price < 5, **options)

        async with serving(stall, get=get_service(Cheap)) as client:
            for name, price in zip("abcde", (1, 9, 2, 9, 3), strict=True):
                await client.post("/products", json={"name": name, "price": price})
            pages = [(await client.get("/products", params={"size": 2, "page": page})).json() for page in (1, 2, 3)]
            filtered = (await client.get("/products", params={"cheaper_than": 3, "sort": "-name"})).json()

        assert [[item["name"] for item in page["items"]] for page in pages] == [["a", "c"], ["e"], []]
        assert [page["total"] for page in pages] == [3, 3, 3]
        assert [item["name"] for item in filtered["items"]] == ["c", "a"]

    @pytest.mark.parametrize(
        ("own", "query", "needed"),
        [
            ("list", ProductCursorQuery, "cursor_page"),
            ("page", ProductCursorQuery, "cursor_page"),
            ("cursor_page", ProductQuery, "page"),
        ],
    )
    async def test_a_way_to_list_that_would_be_passed_by_is_refused(
        self, own: str, query: Any, needed: str, small: Shop
    ) -> None:
        guarded = get_service(_with(ProductService, **{own: _refuse}))
        app = application(small, products(query=query))
        app.dependency_overrides[get_product_service] = guarded

        with pytest.raises(TypeError, match=f"its own {own}, which this router would pass by; override {needed} too"):
            products(guarded, query=query)
        async with client_of(app) as client:
            assert (await client.get("/products")).status_code == 500

    async def test_what_nobody_overrides_is_read_by_projections(self, stall: Shop) -> None:
        async with serving(stall) as client:
            path = (await client.post("/products", json=TEA)).headers["Location"]
            with Statements(stall) as statements:
                await client.get(path)
                await client.get("/products")

        assert len(statements.sent) == 2
        assert not [statement for statement, _ in statements.sent if "secret" in statement]

    async def test_a_mock_is_asked(self, small: Shop) -> None:
        service = create_autospec(ProductService, instance=True)
        service.get.return_value = Product(id=7, name="mock", price=1, note=None, color="red", version=3)
        service.page.return_value = Page([service.get.return_value], 1, 1, 50)

        async def get_mock() -> Any:
            return service

        app = application(small, products())
        app.dependency_overrides[get_product_service] = get_mock
        async with client_of(app) as client:
            read = await client.get("/products/7")
            listed = await client.get("/products")

        assert (read.json()["name"], read.headers["ETag"]) == ("mock", '"3"')
        assert listed.json()["items"] == [read.json()]


class TestWiring:
    async def test_a_dependency_of_the_applications_own_says_what_it_returns(self, small: Shop) -> None:
        async def get_it(uow: UOWDep) -> ProductService:
            return ProductService(ProductRepository, Product, uow)

        async def yield_it(uow: UOWDep) -> AsyncGenerator[ProductService]:
            yield ProductService(ProductRepository, Product, uow)

        for get in (get_it, yield_it):
            async with serving(small, get=get) as client:
                assert (await client.get("/products")).json()["items"] == []

    @pytest.mark.parametrize(
        ("options", "kind", "message"),
        [
            ({"only": ["list", "patch"]}, ValueError, r"only= names 'patch'; the operations are list, get, create"),
            ({"only": "list"}, None, ""),
            ({"only": []}, ValueError, "only= names nothing"),
            ({"create": None}, TypeError, r"create needs create=; give it, or leave 'create' out by only="),
            ({"update": None}, TypeError, "update needs update="),
            (
                {"query": BaseModel},
                TypeError,
                "BaseModel is no query with pages; derive it from PageParams, OffsetParams or",
            ),
            (
                {"query": type("Both", (PageParams, CursorParams), {})},
                TypeError,
                "Both has pages of several kinds",
            ),
            ({"read": type("Odd", (ProductRead,), {"__annotations__": {"odd": int}})}, TypeError, "Odd.odd cannot be"),
        ],
    )
    def test_what_does_not_fit_is_refused_at_once(
        self, options: dict[str, Any], kind: type[Exception] | None, message: str
    ) -> None:
        if kind is None:
            products(**options)
            return
        with pytest.raises(kind, match=message):
            products(**options)

    def test_a_dependency_that_says_nothing_is_refused(self) -> None:
        async def get_it(uow: UOWDep):  # type: ignore[no-untyped-def]  # what is refused
            return ProductService.of(uow)

        with pytest.raises(TypeError, match="get_it does not say which BaseService it returns; write `-> ItemService`"):
            products(get_it)

    def test_versions_can_only_be_required_where_there_are_some(self) -> None:
        with pytest.raises(TypeError, match="derive Place from Versioned"):
            crud_router(get_service(PlaceService), read=PlaceCreate, only=["list", "delete"], require_match=True)

    async def test_only_the_named_operations_are_there(self, small: Shop) -> None:
        router = crud_router(get_product_service, read=ProductRead, only=("list", "get"))
        app = application(small, router)
        async with client_of(app) as client:
            refused = await client.post("/products", json=TEA)

        assert {path: set(item) for path, item in app.openapi()["paths"].items()} == {
            "/products": {"get"},
            "/products/{id}": {"get"},
        }
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET")

    async def test_what_writes_may_depend_on_more_than_what_reads(self, small: Shop) -> None:
        async def refuse() -> None:
            raise PermissionDeniedError("only reading is allowed")

        async with serving(small, write_dependencies=[Depends(refuse)]) as client:
            reads = [(await client.get(path)).status_code for path in ("/products", "/products/1")]
            writes = [
                (await client.request(method, path, json=TEA)).status_code
                for method, path in [
                    ("POST", "/products"),
                    *((each, "/products/1") for each in ("PUT", "PATCH", "DELETE")),
                ]
            ]

        assert (reads, writes) == ([200, 404], [403] * 4)

    async def test_a_method_that_a_path_lacks_is_answered_with_all_that_it_has(self, small: Shop) -> None:
        async with serving(small) as client:
            of_all = await client.delete("/products")
            of_one = await client.post("/products/1", json=TEA)

        assert (of_all.status_code, of_all.headers["Allow"]) == (405, "GET, POST")
        assert (of_one.status_code, of_one.headers["Allow"]) == (405, "GET, PUT, PATCH, DELETE")


class TestHostileRequests:
    """Each is refused with a status that the document names, and nothing of it is saved."""

    async def test_bodies(self, stall: Shop) -> None:
        found: list[tuple[str, bytes, int]] = []
        async with serving(stall) as client:
            path = (await client.post("/products", json={"name": "old", "price": 7})).headers["Location"]
            for body, content_type, status in BODIES:
                for method, target in (("POST", "/products"), ("PUT", path)):
                    answer = await client.request(method, target, content=body, headers={"Content-Type": content_type})
                    if answer.status_code != status or "detail" not in answer.json():
                        found.append((method, body[:50], answer.status_code))
            saved = (await client.get("/products")).json()["items"]

        assert not found
        assert [item["name"] for item in saved] == ["old"]

    async def test_the_last_of_two_equal_names_counts(self, small: Shop) -> None:
        async with serving(small) as client:
            body = b'{"name": "a", "price": 1, "name": "b"}'
            created = await client.post("/products", content=body, headers={"Content-Type": "application/json"})

        assert created.json()["name"] == "b"

    async def test_long_text_is_stored_or_refused(self, stall: Shop) -> None:
        async with serving(stall) as client:
            long = await client.post("/products", json={"name": "x" * 300, "price": 1})
            huge = await client.post("/products", json={"name": "tea", "price": 1, "note": "x" * 1_000_000})

        expected = 422 if stall.backend.server == "mariadb" else 201
        assert (long.status_code, huge.status_code) == (expected, expected)

    async def test_queries(self, stall: Shop) -> None:
        async with serving(stall) as client:
            statuses = {query: (await client.get(f"/products?{query}")).status_code for query, _ in QUERIES}

        assert statuses == dict(QUERIES)

    async def test_keys(self, stall: Shop) -> None:
        keys = {"abc": 422, "1.5": 422, "%00": 422, "9" * 5_000: 422, "%ff": 422, "1%2F2": 404}
        async with serving(stall) as client:
            found = {
                (method, key): (await client.request(method, f"/products/{key}", json=TEA)).status_code
                for method in METHODS
                for key in keys
            }

        assert found == {(method, key): status for method in METHODS for key, status in keys.items()}


class TestTheDocument:
    def test_it_has_each_status_and_each_header(self, small: Shop) -> None:
        app = application(small, products(require_match=True))
        paths: Any = app.openapi()["paths"]
        found = {
            (method, path): set(map(int, operation["responses"]))
            for path, operations in paths.items()
            for method, operation in operations.items()
        }
        one = paths["/products/{id}"]

        assert found == {
            ("get", "/products"): {200, 422, 503},
            ("post", "/products"): {201, 400, 409, 422, 503},
            ("get", "/products/{id}"): {200, 304, 404, 422, 503},
            ("put", "/products/{id}"): {200, 400, 404, 409, 412, 422, 428, 503},
            ("patch", "/products/{id}"): {200, 400, 404, 409, 412, 422, 428, 503},
            ("delete", "/products/{id}"): {204, 404, 409, 412, 422, 428, 503},
        }
        assert set(paths["/products"]["post"]["responses"]["201"]["headers"]) == {"ETag", "Location"}
        assert set(one["get"]["responses"]["503"]["headers"]) == {"Retry-After"}
        assert [each["name"] for each in one["patch"]["parameters"]] == ["id", "If-Match"]

    def test_error_responses_are_of_errors_only(self) -> None:
        assert {*error_responses(404, 409, 404)} == {404, 409}
        assert error_responses(401)[401]["headers"].keys() == {"WWW-Authenticate"}
        for status in (200, 304, 299, 600):
            with pytest.raises(ValueError, match=f"{status} is no status of an error"):
                error_responses(status)
