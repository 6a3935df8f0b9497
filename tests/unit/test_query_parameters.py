"""What a route's query model takes and refuses, and what its document says; `tests/integration` reads with it."""

from __future__ import annotations

import datetime
import enum
import json
import uuid
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field, ValidationError, create_model
from sqlalchemy import ColumnElement, Enum, Integer, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from layered_backend import (
    CursorPage,
    CursorParams,
    FilterSet,
    Page,
    PageParams,
    Slice,
    Sorting,
    Where,
)
from layered_backend.query.joined_tables import checked_criteria
from layered_backend.query.parameters import QueryModel
from tests.shop import Category, Item, ItemRead


class Grade(enum.Enum):
    A = "a"
    B = "b"


class Wrapped(TypeDecorator[int]):
    impl = Integer
    cache_ok = True


class SearchedBase(DeclarativeBase): ...


class Searched(SearchedBase):
    __tablename__ = "searched"

    count: Mapped[int] = mapped_column(primary_key=True)
    grade: Mapped[Grade]
    written: Mapped[Grade] = mapped_column(Enum(Grade, native_enum=False))
    moment: Mapped[datetime.datetime]
    token: Mapped[uuid.UUID]
    wrapped: Mapped[int] = mapped_column(Wrapped)


class ItemFilter(FilterSet):
    name: Annotated[str | None, Where(Item.name.icontains)] = None
    dearer_than: Annotated[int | None, Where(lambda price: Item.price > price), Field(alias="dearerThan")] = None
    color: Annotated[list[str] | None, Where(Item.color.in_)] = None
    category: Annotated[str | None, Where(lambda name: Item.category.has(Category.name == name))] = None


class ItemSorting(Sorting):
    keys = {"name": Item.name, "price": Item.price}  # noqa: RUF012  # declared so by Sorting
    default = "name"


class ItemQuery(ItemFilter, ItemSorting, PageParams):
    pass


app = FastAPI()


@app.get("/items")
async def list_items(query: Annotated[ItemQuery, Query()]) -> dict[str, Any]:
    return {
        "where": [_sql(criterion) for criterion in query.where()],
        "order_by": [_sql(expression) for expression in query.order_by()],
        "rows": [query.offset, query.size],
    }


def _sql(expression: Any) -> str:
    return str(expression.compile(compile_kwargs={"literal_binds": True}))


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(app)


def _errors(client: TestClient, query: str) -> list[tuple[list[str], str]]:
    answer = client.get(f"/items?{query}")
    assert answer.status_code == 422
    return [(error["loc"], error["msg"]) for error in answer.json()["detail"]]


class TestQueryModel:
    def test_the_parameters_become_criteria_a_sort_and_a_page(self, client: TestClient) -> None:
        answer = client.get("/items?dearerThan=3&color=red&color=blue&sort=-price,name&page=3&size=20").json()

        assert answer["where"] == ["items.price > 3", "items.color IN ('red', 'blue')"]
        assert answer["order_by"] == ["items.price DESC", "items.name"]
        assert answer["rows"] == [40, 20]

    def test_nothing_asked_is_everything_by_the_default_sort(self, client: TestClient) -> None:
        assert client.get("/items").json() == {"where": [], "order_by": ["items.name"], "rows": [0, 50]}

    def test_an_unknown_parameter_is_refused_and_the_allowed_ones_are_named(self, client: TestClient) -> None:
        allowed = "There is no such parameter; allowed are category, color, dearerThan, name, page, size, sort"

        assert _errors(client, "nam=x&page=1&id=2") == [
            (["query", "id"], allowed),
            (["query", "nam"], allowed),
        ]

    def test_an_unknown_sort_key_is_refused_and_the_allowed_ones_are_named(self, client: TestClient) -> None:
        message = "Cannot sort by secret, -name; allowed are name, price"

        assert _errors(client, "sort=price,-secret,--name") == [(["query", "sort"], message)]

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("size=101", "Input should be less than or equal to 100"),
            ("size=0", "Input should be greater than or equal to 1"),
            ("page=0", "Input should be greater than or equal to 1"),
            ("page=9223372036854775807", f"Input should be less than or equal to {(2**63 - 1) // 100}"),
        ],
    )
    def test_a_page_out_of_reach_is_refused_and_the_bound_is_named(
        self, client: TestClient, query: str, message: str
    ) -> None:
        assert [text for _, text in _errors(client, query)] == [message]

    def test_larger_pages_are_within_reach_too(self) -> None:
        class LargePages(PageParams):
            size: int = Field(default=1000, ge=1, le=1000)

        farthest = (2**63 - 1) // 1000
        assert LargePages(page=farthest).offset < 2**63
        with pytest.raises(ValidationError, match=f"page times size is at most {2**63 - 1}"):
            LargePages(page=farthest + 1)

    def test_the_document_shows_every_parameter_and_the_sort_keys(self, client: TestClient) -> None:
        parameters = client.get("/openapi.json").json()["paths"]["/items"]["get"]["parameters"]
        by_name = {parameter["name"]: parameter for parameter in parameters}

        assert set(by_name) == {"name", "dearerThan", "color", "category", "sort", "page", "size"}
        assert by_name["sort"]["description"].endswith("Allowed: name, price.")
        assert by_name["sort"]["schema"]["pattern"] == "^(-?(name|price)(,-?(name|price))*)?$"
        assert by_name["size"]["schema"]["maximum"] == 100


class TestFilterSet:
    @pytest.mark.parametrize(
        "operator", ["contains", "startswith", "endswith", "icontains", "istartswith", "iendswith"]
    )
    def test_text_is_searched_for_as_it_is_written(self, operator: str) -> None:
        mark = Where(getattr(Item.name, operator))

        assert "50/%/_//" in _sql(mark("50%_/"))

    @pytest.mark.parametrize("column", ["grade", "count", "moment", "token", "wrapped"])
    @pytest.mark.parametrize("operator", ["contains", "istartswith", "endswith"])
    def test_a_search_for_text_in_what_is_none_is_refused_when_the_class_is_made(
        self, column: str, operator: str
    ) -> None:
        with pytest.raises(TypeError, match=rf"Searched\.{column} is no text to search in"):

            class _Filter(FilterSet):
                text: Annotated[str | None, Where(getattr(getattr(Searched, column), operator))] = None

            pytest.fail(f"{_Filter} is made")

    def test_a_search_that_a_function_writes_is_refused_when_it_is_asked(self) -> None:
        criterion = Where(lambda value: Searched.grade.ilike(value))("%A%")  # noqa: PLW0108

        with pytest.raises(TypeError, match=r"searched\.grade is no text to search in"):
            checked_criteria(inspect(Searched), [criterion])

    def test_names_of_an_enumeration_that_are_stored_as_text_can_be_searched(self) -> None:
        assert "LIKE" in str(Where(Searched.written.icontains)("A"))

    def test_a_field_without_a_where_is_refused_when_the_class_is_made(self) -> None:
        with pytest.raises(TypeError, match=r"_Filter\.color has no Where, so it would filter nothing"):

            class _Filter(FilterSet):
                name: Annotated[str | None, Where(Item.name.icontains)] = None
                color: str | None = None

            pytest.fail(f"{_Filter} is made")

        with pytest.raises(TypeError, match=r"_Query\.name has no Where"):

            class _Query(ItemFilter, PageParams):
                name: str | None = None

            pytest.fail(f"{_Query} is made")

    def test_a_parameter_that_the_route_reads_itself_is_declared_beside_the_filters(self) -> None:
        class Shown(BaseModel):
            with_notes: bool = False

        class Query(ItemFilter, Shown, PageParams):
            size: int = Field(default=5, le=10)

        assert [_sql(each) for each in Query(color=["red"], with_notes=True).where()] == ["items.color IN ('red')"]

    @pytest.mark.parametrize("base", [PageParams, CursorParams, Sorting])
    def test_a_where_outside_of_a_filter_set_is_refused_when_the_class_is_made(self, base: type[QueryModel]) -> None:
        class Plain(BaseModel):
            name: Annotated[str | None, Where(Item.name.icontains)] = None

        with pytest.raises(TypeError, match=r"Query\.name has a Where, which only a FilterSet applies"):
            create_model("Query", __base__=(Plain, base))

        class Inner(BaseModel):
            name: Annotated[str, Where(Item.name.icontains)] | None = None

        with pytest.raises(TypeError, match=r"Other\.name has a Where"):
            create_model("Other", __base__=(Inner, base))

    def test_a_function_of_the_same_name_gets_the_value_alone(self) -> None:
        def contains(value: str) -> ColumnElement[bool]:
            return Item.name == value

        assert _sql(Where(contains)("50%")) == "items.name = '50%'"

    def test_an_empty_list_and_false_are_values(self) -> None:
        class Filter(FilterSet):
            color: Annotated[list[str] | None, Where(Item.color.in_)] = None
            has_note: Annotated[bool | None, Where(lambda has: Item.note.is_not(None) == has)] = None

        assert len(Filter(color=[], has_note=False).where()) == 2
        assert Filter(color=None).where() == []

    def test_a_mark_inside_the_type_is_refused_as_it_would_be_overlooked(self) -> None:
        with pytest.raises(TypeError, match=r"Filter\.name: a Where belongs around the whole type"):

            class Filter(FilterSet):  # pyright: ignore[reportUnusedClass]
                name: Annotated[str, Where(Item.name.contains)] | None = None


class TestSorting:
    def test_a_key_that_is_named_again_counts_once(self) -> None:
        twice = ItemSorting(sort="price,-name,-price,price").order_by()

        assert [_sql(each) for each in twice] == ["items.price", "items.name DESC"]

    def test_a_minus_sign_reverses_what_a_key_stands_for(self) -> None:
        class Newest(Sorting):
            keys = {"new": Item.id.desc(), "note": Item.note.nulls_last()}  # noqa: RUF012

        def sorted_by(sort: str) -> list[str]:
            return [_sql(expression) for expression in Newest(sort=sort).order_by()]

        assert sorted_by("new,note") == ["items.id DESC", "items.note NULLS LAST"]
        assert sorted_by("-new,-note") == ["items.id ASC", "items.note DESC NULLS LAST"]
        assert Newest().order_by() == []

    def test_a_default_that_is_no_key_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"Wrong\.default names price, which is not among its keys"):

            class Wrong(Sorting):  # pyright: ignore[reportUnusedClass]
                keys = {"name": Item.name}  # noqa: RUF012
                default = "-price"

    def test_the_class_itself_allows_nothing(self) -> None:
        with pytest.raises(ValidationError, match="Cannot sort by name"):
            Sorting(sort="name")


class TestPages:
    @pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (50, 1), (51, 2), (101, 3)])
    def test_a_page_knows_how_many_there_are(self, total: int, pages: int) -> None:
        assert Page([], total, 1, 50).pages == pages

    @pytest.mark.parametrize(
        ("page", "model", "rest"),
        [
            (Page([Item(id=1, name="tea", price=1)], 1, 1, 50), Page[ItemRead], {"total": 1, "page": 1, "pages": 1}),
            (Slice([Item(id=1, name="tea", price=1)], 1, 50, False), Slice[ItemRead], {"page": 1, "has_next": False}),
            (
                CursorPage([Item(id=1, name="tea", price=1)], 50, "x", None),
                CursorPage[ItemRead],
                {"next": "x", "previous": None, "total": None},
            ),
        ],
    )
    def test_a_response_model_lets_no_other_field_of_an_entity_through(
        self, page: object, model: Any, rest: dict[str, Any]
    ) -> None:
        leaky = FastAPI()

        @leaky.get("/", response_model=model)
        async def read() -> object:
            return page

        answer = json.loads(TestClient(leaky).get("/").content)

        item = {"id": 1, "name": "tea", "price": "1", "note": None}
        assert answer == {"items": [item], "size": 50, **rest}

    def test_a_page_is_frozen(self) -> None:
        with pytest.raises(AttributeError):
            Page([], 0, 1, 50).total = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

    def test_cursor_parameters_are_strict_too(self) -> None:
        with pytest.raises(ValidationError, match="allowed are cursor, size"):
            CursorParams.model_validate({"page": 1})
