"""Rows that become schemas, in a unit of work and outside one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Query
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, computed_field, create_model
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, ForeignKey, MetaData, func, select, true
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    CursorPage,
    CursorParams,
    IntegerPrimaryKey,
    InvalidDataError,
    NotFoundError,
    Page,
    PageParams,
    Projection,
    Scope,
    Slice,
    SoftDeletable,
    Sorting,
    TenantScope,
    UnitOfWork,
    UOWDep,
    get_projection,
    install,
)
from layered_backend.models import NAMING_CONVENTION
from tests.databases import ASYNC_BACKENDS, Shop
from tests.shop import Category, CategoryRepository, Item, ItemRead, ItemRepository, ShopUnitOfWork
from tests.statements import Statements


class NamedRead(BaseModel):
    name: str


class ItemInCategory(BaseModel):
    name: str
    category: NamedRead | None


class CategoryRead(BaseModel):
    id: int
    name: str
    items: list[ItemRead]


class CategoryOfItem(BaseModel):
    items: tuple[NamedRead, ...]


class DeepItem(BaseModel):
    category: CategoryOfItem | None
    name: str


async def _fill(uow: ShopUnitOfWork) -> None:
    for name, prices in (("drinks", (1, 2, 3)), ("food", (4,)), ("toys", ())):
        category = await uow.categories.create({"name": name})
        for price in prices:
            await uow.items.create({"name": f"{name} {price}", "price": price, "category_id": category.id})
    await uow.items.create({"name": "alone", "price": 9})


class TestReading:
    async def test_it_reads_what_the_repository_reads(self, bound: Shop) -> None:
        await bound.run(_fill)

        async def work(uow: ShopUnitOfWork) -> None:
            items = uow.items.project(ItemRead)
            entities = await uow.items.list()
            expected = [ItemRead.model_validate(entity) for entity in entities]

            assert await items.list() == expected
            assert await items.get(entities[1].id) == expected[1]
            assert await items.get_or_none(10**30) is None
            assert await items.first(Item.price > 2, order_by=Item.price.desc()) == expected[-1]
            assert await items.first(Item.price > 99) is None
            assert await items.list(Item.price < 4, order_by=Item.price.desc(), limit=2, offset=1) == expected[1::-1]
            with pytest.raises(NotFoundError, match="Item 0 does not exist"):
                await items.get(0)
            with pytest.raises(InvalidDataError, match="limit is at least 0"):
                await items.list(limit=-1)

            assert await items.page(PageParams(page=2, size=2)) == Page(expected[2:4], 5, 2, 2)
            assert await items.page(PageParams(page=9, size=2)) == Page([], 5, 9, 2)
            assert await items.slice(PageParams(page=1, size=4)) == Slice(expected[:4], 1, 4, True)
            first = await items.cursor_page(CursorParams(size=3), order_by=Item.price.desc())
            second = await items.cursor_page(CursorParams(size=3, cursor=first.next), order_by=Item.price.desc())
            by_entity = await uow.items.cursor_page(CursorParams(size=3, cursor=first.next), order_by=Item.price.desc())
            assert [item.name for item in (*first.items, *second.items)] == [e.name for e in reversed(expected)]
            assert (by_entity.previous, by_entity.next) == (second.previous, second.next), "cursors are interchangeable"
            assert [item async for item in items.stream(batch_size=2)] == expected

        await bound.run(work)

    async def test_it_sees_what_is_pending_and_makes_no_entities(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Item(name="tea", price=Decimal(1)))
            assert [item.name for item in await uow.items.project(ItemRead).list()] == ["tea"]
            uow.session.expunge_all()
            await uow.items.project(ItemRead).list()
            assert len(uow.session.identity_map) == 0

        await bound.run(work)

    async def test_a_schema_without_columns_is_made_for_each_row(self, bound: Shop) -> None:
        class Seen(BaseModel):
            @computed_field
            def is_seen(self) -> bool:
                return True

        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create_many([{"name": name, "price": 1} for name in "abc"])
            seen = uow.items.project(Seen)

            assert await seen.list() == [Seen()] * 3
            assert (await seen.page(PageParams(size=2))).total == 3
            assert len((await seen.cursor_page(CursorParams(size=2))).items) == 2

        await bound.run(work)

    async def test_it_selects_only_the_columns_of_the_schema(self, sqlite_shop: Shop) -> None:
        await sqlite_shop.run(_fill)

        with Statements(sqlite_shop) as statements:
            await sqlite_shop.run(lambda uow: uow.items.project(NamedRead).list())

        assert [" ".join(sql.split()) for sql, _ in statements.sent] == [
            "SELECT items.name FROM items ORDER BY items.id"
        ]


class TestNestedSchemas:
    async def test_a_row_comes_by_a_join_and_each_collection_is_one_statement_more(self, bound: Shop) -> None:
        await bound.run(_fill)

        async def work(uow: ShopUnitOfWork) -> None:
            with Statements(bound) as statements:
                categories = await uow.categories.project(CategoryRead).list()
            assert len(statements.sent) == 2
            assert [(category.name, [int(item.price) for item in category.items]) for category in categories] == [
                ("drinks", [1, 2, 3]), ("food", [4]), ("toys", []),
            ]  # fmt: skip
            with Statements(bound) as statements:
                items = await uow.items.project(DeepItem).list(order_by=Item.id)
            assert len(statements.sent) == 2
            siblings = [item.category and [sibling.name for sibling in item.category.items] for item in items]
            drinks = ["drinks 1", "drinks 2", "drinks 3"]
            assert siblings == [drinks, drinks, drinks, ["food 4"], None]
            page = await uow.items.project(ItemInCategory).page(PageParams(page=3, size=2))
            assert page.items == [ItemInCategory(name="alone", category=None)]
            assert page.total == 5
            one = await uow.categories.project(CategoryRead).get(categories[1].id)
            assert one == categories[1]
            with Statements(bound) as statements:
                assert await uow.categories.project(CategoryRead).list(Category.name == "x") == []
            assert len(statements.sent) == 1

        await bound.run(work)

    async def test_a_stream_reads_them_batch_by_batch(self, bound: Shop) -> None:
        await bound.run(_fill)

        async def work(uow: ShopUnitOfWork) -> None:
            stream = uow.items.project(ItemInCategory).stream(order_by=Item.price.desc(), batch_size=2)
            names = [(item.name, item.category.name if item.category else None) async for item in stream]
            assert names == [
                ("alone", None), ("food 4", "food"), ("drinks 3", "drinks"), ("drinks 2", "drinks"), ("drinks 1", "drinks"),
            ]  # fmt: skip

        await bound.run(work)


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Owned:
    tenant_id: Mapped[int]


class Node(IntegerPrimaryKey, Owned, SoftDeletable, Base):
    """A tree, tagged: a relationship to itself, one over a table between, and columns that are computed."""

    __tablename__ = "projected_nodes"

    title: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("projected_nodes.id"))
    parent: Mapped[Node | None] = relationship(back_populates="children", remote_side="Node.id")
    children: Mapped[list[Node]] = relationship(back_populates="parent", order_by="Node.title.desc()")
    tags: Mapped[list[Sticker]] = relationship(secondary=lambda: NodeTag.__table__)

    @hybrid_property
    def loud(self) -> str:
        return self.title.upper()

    @loud.inplace.expression
    @classmethod
    def _loud(cls) -> Any:
        return func.upper(cls.title)

    @property
    def plain(self) -> str:
        return self.title


class Sticker(IntegerPrimaryKey, Base):
    __tablename__ = "projected_tags"

    word: Mapped[str]


class NodeTag(Base):
    __tablename__ = "projected_node_tags"

    node_id: Mapped[int] = mapped_column(ForeignKey("projected_nodes.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("projected_tags.id"), primary_key=True)


Node.tag_count = column_property(
    select(func.count()).where(NodeTag.node_id == Node.id).correlate_except(NodeTag).scalar_subquery()
)


class TagRead(BaseModel):
    word: str


class TitleRead(BaseModel):
    title: str


class NodeRead(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    title: str
    loud: str
    tag_count: int
    parent: TitleRead | None
    children: list[TitleRead]
    labels: list[TagRead] = Field(validation_alias=AliasChoices("labels", "tags"), serialization_alias="labels")
    heading: str = Field(alias="title")

    @computed_field
    def child_count(self) -> int:
        return len(self.children)


class Forest(UnitOfWork):
    scopes = (Scope(SoftDeletable, lambda cls: cls.deleted_at.is_(None), name="soft_delete"), TenantScope(Owned))
    nodes: BaseRepository[Node]
    tags: BaseRepository[Sticker]


class User(BaseModel):
    tenant_id: int


@pytest.fixture
async def forest(async_shop: Shop) -> AsyncGenerator[Shop]:
    await async_shop.database.create_all(Base.metadata)
    yield async_shop
    await async_shop.run(lambda uow: uow.session.run_sync(lambda s: Base.metadata.drop_all(s.connection())))


async def _plant(bound: Shop) -> None:
    async with Forest(bound.database, actor=User(tenant_id=1)) as uow:
        root = await uow.nodes.create({"title": "root"})
        for title in ("a", "b", "c"):
            await uow.nodes.create({"title": title, "parent_id": root.id})
        await uow.nodes.delete((await uow.nodes.one(Node.title == "b")).id)
        words = [await uow.tags.create({"word": word}) for word in ("old", "tall")]
        await uow.nodes.update(root, {"tags": words})
    async with Forest(bound.database, actor=User(tenant_id=2)) as uow:
        await uow.nodes.create({"title": "other"})


class TestSchemas:
    async def test_aliases_computed_fields_hybrids_and_relationships_of_all_kinds(self, forest: Shop) -> None:
        await _plant(forest)

        async with Forest(forest.database, actor=User(tenant_id=1)) as uow:
            with Statements(forest) as statements:
                nodes = await uow.nodes.project(NodeRead).list(order_by=Node.title.desc())

        assert len(statements.sent) == 3
        root, *leaves = [node.model_dump() for node in nodes]
        assert root == {
            "title": "root", "loud": "ROOT", "tag_count": 2, "parent": None, "heading": "root", "child_count": 2,
            "children": [{"title": "c"}, {"title": "a"}], "labels": [{"word": "old"}, {"word": "tall"}],
        }  # fmt: skip
        assert [(leaf["title"], leaf["parent"]) for leaf in leaves] == [
            ("c", {"title": "root"}), ("a", {"title": "root"}),
        ]  # fmt: skip

    async def test_the_scopes_of_the_unit_of_work_hold(self, forest: Shop) -> None:
        await _plant(forest)

        async with Forest(forest.database, actor=User(tenant_id=1)) as uow:
            titles = uow.nodes.project(TitleRead)
            assert [node.title for node in await titles.list()] == ["root", "a", "c"]
            assert (await titles.page(PageParams(page=5))).total == 3
            assert [node.title async for node in titles.stream()] == ["root", "a", "c"]
            with uow.without("soft_delete"):
                assert (await titles.page(PageParams())).total == 4

    @pytest.mark.parametrize(
        ("field", "annotation", "default"),
        [
            ("titel", str, ...),
            ("titel", str, "none"),
            ("plain", str, ...),
            ("children", int, ...),
            ("word", str, Field(validation_alias=AliasPath("tags", 0))),
        ],
    )
    def test_a_field_that_no_column_has_is_named_when_the_projection_is_built(
        self, field: str, annotation: Any, default: Any
    ) -> None:
        create: Any = create_model
        schema = create("Wrong", **{field: (annotation, default)})

        with pytest.raises(TypeError, match=rf"Wrong\.{field} cannot be read: Node has no column of that name"):
            get_projection(BaseRepository[Node], schema)

    def test_a_schema_without_an_end_is_refused(self) -> None:
        with pytest.raises(TypeError, match="TreeRead is nested in itself"):
            get_projection(BaseRepository[Node], TreeRead)


class TreeRead(BaseModel):
    title: str
    children: list[TreeRead]


class ItemSorting(Sorting):
    keys = {"price": Item.price}  # noqa: RUF012  # declared so by Sorting


class ItemQuery(ItemSorting, CursorParams):
    pass


Items = Annotated[Projection[ItemRead], Depends(get_projection(ItemRepository, ItemRead))]
Categories = Annotated[Projection[CategoryRead], Depends(get_projection(CategoryRepository, CategoryRead))]


def _application(bound: Shop) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=bound.database)

    @app.get("/items")
    async def list_items(items: Items, query: Annotated[ItemQuery, Query()]) -> CursorPage[ItemRead]:
        return await items.cursor_page(query)

    @app.get("/categories")
    async def list_categories(categories: Categories) -> list[CategoryRead]:
        return list(await categories.list())

    @app.get("/stream")
    async def stream_items(items: Items) -> list[str]:
        return [item.name async for item in items.stream(batch_size=2)]

    @app.get("/first")
    async def first_item(items: Items) -> tuple[str, int]:
        async with aclosing(items.stream(batch_size=1)) as stream:
            item = await anext(stream)
        return item.name, bound.checked_out

    @app.get("/items/{item_id}")
    async def read_item(item_id: int, items: Items) -> ItemRead:
        return await items.get(item_id)

    @app.post("/items")
    async def create_item(items: Items, uow: UOWDep) -> list[ItemRead]:
        uow.session.add(Item(name="pending", price=Decimal(1)))
        return list(await items.list(true()))

    return app


def _client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop")


class TestDependency:
    def test_the_same_arguments_give_the_same_dependency(self) -> None:
        assert get_projection(ItemRepository, ItemRead) is get_projection(ItemRepository, ItemRead)

    async def test_outside_a_unit_of_work_it_reads_without_a_transaction(self, async_shop: Shop) -> None:
        await async_shop.run(_fill)

        async with _client(_application(async_shop)) as client:
            with Statements(async_shop) as statements:
                page = (await client.get("/items?sort=-price&size=2")).json()
                rest = (await client.get(f"/items?sort=-price&size=9&cursor={page['next']}")).json()
                categories = (await client.get("/categories")).json()
                missing = await client.get("/items/0")
                wrong = await client.get(f"/items?size=2&cursor={page['next']}")

        assert [item["name"] for item in (*page["items"], *rest["items"])] == [
            "alone", "food 4", "drinks 3", "drinks 2", "drinks 1",
        ]  # fmt: skip
        assert [len(category["items"]) for category in categories] == [3, 1, 0]
        assert (missing.status_code, missing.json()) == (404, {"detail": "Item not found"})
        assert wrong.status_code == 422
        assert wrong.json()["detail"].startswith("The cursor is broken or was made for another sort or filter")
        ranges = 2 if async_shop.backend.server == "sqlite" else 1  # of the second page: it seeks by key alone
        assert (len(statements.sent), statements.began) == (4 + ranges, 0)
        assert async_shop.checked_out == 0

    async def test_it_takes_part_in_the_unit_of_work_of_the_request(self, async_shop: Shop) -> None:
        async with _client(_application(async_shop)) as client:
            answer = await client.post("/items")

        assert [item["name"] for item in answer.json()] == ["pending"]
        assert await async_shop.names() == ["pending"]

    async def test_a_stream_has_a_transaction_and_gives_its_connection_back(self, async_shop: Shop) -> None:
        await async_shop.run(_fill)

        async with _client(_application(async_shop)) as client:
            assert len((await client.get("/stream")).json()) == 5
            assert (await client.get("/first")).json() == ["drinks 1", 0], "one that is left early, at once"

        assert async_shop.checked_out == 0

    async def test_the_scopes_hold_and_a_missing_tenant_is_refused(self, forest: Shop) -> None:
        await _plant(forest)
        app = FastAPI()
        install(app, Forest, database=forest.database)

        @app.get("/nodes")
        async def nodes(
            titles: Annotated[Projection[TitleRead], Depends(get_projection(BaseRepository[Node], TitleRead))],
        ) -> list[TitleRead]:
            return list(await titles.list())

        @app.get("/tags")
        async def tags(
            words: Annotated[Projection[TagRead], Depends(get_projection(BaseRepository[Sticker], TagRead))],
        ) -> list[TagRead]:
            return list(await words.list())

        async with _client(app) as client:
            refused, allowed = await client.get("/nodes"), await client.get("/tags")

        assert (refused.status_code, allowed.json()) == (403, [{"word": "old"}, {"word": "tall"}])
        assert forest.checked_out == 0

    @pytest.mark.parametrize("shop", ASYNC_BACKENDS, indirect=True, ids=str)
    async def test_a_read_that_is_cancelled_gives_its_connection_back(self, shop: Shop) -> None:
        await shop.run(_fill)
        app = _application(shop)

        async with _client(app) as client:
            for ticks in range(12):
                assert (await client.get("/categories")).status_code == 200  # so that there is a connection to take
                task = asyncio.create_task(client.get("/categories"))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})

            def others(connection: Connection) -> int:
                pool: Any = connection.engine.pool
                return int(pool.checkedout()) - 1

            assert await shop.database.read(others) == 0
