"""Values that a request gives to a projection, and what a page with them costs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Header, Query
from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    MetaData,
    Select,
    Table,
    exists,
    func,
    literal,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    CursorPage,
    CursorParams,
    IntegerPrimaryKey,
    PageParams,
    Projection,
    Scope,
    SoftDeletable,
    Sorting,
    UnitOfWork,
    get_projection,
    install,
)
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop
from tests.statements import Statements


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


article_tags = Table(
    "valued_article_tags",
    Base.metadata,
    Column("article_id", Integer, ForeignKey("valued_articles.id"), primary_key=True),
    Column("tag_id", Integer, ForeignKey("valued_tags.id"), primary_key=True),
)


class Writer(IntegerPrimaryKey, SoftDeletable, Base):
    __tablename__ = "valued_writers"

    name: Mapped[str]
    chief_id: Mapped[int | None] = mapped_column(ForeignKey("valued_writers.id"))
    chief: Mapped[Writer | None] = relationship(remote_side="Writer.id")


class Word(IntegerPrimaryKey, Base):
    __tablename__ = "valued_tags"

    text_: Mapped[str]


class Favorite(Base):
    __tablename__ = "valued_favorites"

    article_id: Mapped[int] = mapped_column(ForeignKey("valued_articles.id"), primary_key=True)
    reader: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Article(IntegerPrimaryKey, Base):
    __tablename__ = "valued_articles"

    title: Mapped[str]
    writer_id: Mapped[int] = mapped_column(ForeignKey("valued_writers.id"))
    writer: Mapped[Writer] = relationship()
    tags: Mapped[list[Word]] = relationship(secondary=article_tags, order_by=Word.id)


Article.length = column_property(func.length(Article.title))


class ChiefRead(BaseModel):
    name: str


class WriterRead(BaseModel):
    name: str
    chief: ChiefRead | None


class WordRead(BaseModel):
    text_: str


class ArticleRead(BaseModel):
    title: str
    writer: WriterRead | None
    tags: list[WordRead]
    favorited: bool
    favorites: int


class Magazine(UnitOfWork):
    scopes = (Scope(SoftDeletable, lambda cls: cls.deleted_at.is_(None), name="soft_delete"),)
    articles: BaseRepository[Article]
    writers: BaseRepository[Writer]


FAVORITES = select(func.count()).where(Favorite.article_id == Article.id).correlate(Article).scalar_subquery()


def _favorited_by(reader: int) -> ColumnElement[bool]:
    return exists().where(Favorite.article_id == Article.id, Favorite.reader == reader)


@pytest.fixture
async def magazine(async_shop: Shop) -> AsyncGenerator[Shop]:
    await async_shop.database.create_all(Base.metadata)
    async with Magazine(async_shop.database) as uow:
        chief = await uow.writers.create({"name": "chief"})
        writers = [await uow.writers.create({"name": name, "chief_id": chief.id}) for name in ("ann", "bob")]
        words = [Word(text_=text_) for text_ in ("new", "old")]
        for number in range(25):
            writer = writers[number % 2] if number else chief
            await uow.articles.add(Article(title=f"{number}", writer=writer, tags=words[: number % 3]))
        every = await uow.articles.list()
        favorites = uow.repository(BaseRepository[Favorite])
        for number, article in enumerate(every):
            await favorites.create_many({"article_id": article.id, "reader": n} for n in range(number % 4))
    yield async_shop
    await async_shop.run(lambda uow: uow.session.run_sync(lambda s: Base.metadata.drop_all(s.connection())))


class ArticleSorting(Sorting):
    keys = {"favorites": FAVORITES}  # noqa: RUF012  # declared so by Sorting


class ArticlePages(ArticleSorting, PageParams):
    pass


class ArticleCursors(ArticleSorting, CursorParams):
    pass


class TestValues:
    async def test_a_page_of_articles_with_all_that_belongs_to_them_is_two_statements(self, magazine: Shop) -> None:
        async with Magazine(magazine.database) as uow:
            articles = uow.articles.project(ArticleRead, favorited=_favorited_by(1), favorites=FAVORITES)
            with Statements(magazine) as statements:
                page = await articles.page(PageParams(size=20))

        assert len(statements.sent) == 2
        assert (page.total, len(page.items)) == (25, 20)
        assert [(article.favorited, article.favorites) for article in page.items[:4]] == [
            (False, 0), (False, 1), (True, 2), (True, 3),
        ]  # fmt: skip
        assert [len(article.tags) for article in page.items[:4]] == [0, 1, 2, 0]
        assert page.items[0].writer == WriterRead(name="chief", chief=None)
        assert page.items[1].writer == WriterRead(name="bob", chief=ChiefRead(name="chief"))

    async def test_every_way_to_read_has_them_and_can_sort_by_them(self, magazine: Shop) -> None:
        async with Magazine(magazine.database, read_only=True) as uow:
            articles = uow.articles.project(ArticleRead, favorited=_favorited_by(1), favorites=FAVORITES)
            order = (FAVORITES.desc(), Article.id)
            everything = await articles.list(order_by=order)
            keys = [article.id for article in await uow.articles.list()]

            assert [article.favorites for article in everything] == sorted((n % 4 for n in range(25)), reverse=True)
            assert [article async for article in articles.stream(order_by=order, batch_size=4)] == everything
            assert (await articles.page(PageParams(page=2, size=7), order_by=order)).items == everything[7:14]
            assert (await articles.slice(PageParams(page=2, size=7), order_by=order)).items == everything[7:14]
            assert (await articles.get(keys[3])).favorites == 3
            assert await articles.first(order_by=order) == everything[0]
            assert [article.title for article in await articles.list(FAVORITES == 3)] == [
                "3",
                "7",
                "11",
                "15",
                "19",
                "23",
            ]
            read: list[ArticleRead] = []
            cursor: str | None = None
            while cursor or not read:
                page = await articles.cursor_page(CursorParams(size=7, cursor=cursor), order_by=order)
                read += page.items
                cursor = page.next
            assert read == everything

    async def test_a_client_sorts_by_one_that_the_query_model_names(self, magazine: Shop) -> None:
        async with Magazine(magazine.database, read_only=True) as uow:
            articles = uow.articles.project(ArticleRead, favorited=False, favorites=FAVORITES.label("favorites"))
            page = await articles.page(ArticlePages(sort="-favorites", size=7))
            assert [article.favorites for article in page.items] == [3, 3, 3, 3, 3, 3, 2]
            first = await articles.cursor_page(ArticleCursors(sort="-favorites", size=6))
            second = await articles.cursor_page(ArticleCursors(sort="-favorites", size=7, cursor=first.next))
            assert [article.favorites for article in second.items] == [2, 2, 2, 2, 2, 2, 1]

    async def test_they_are_subqueries_columns_or_constants(self, magazine: Shop) -> None:
        async with Magazine(magazine.database, read_only=True) as uow:
            count: Select[Any] = select(func.count()).where(Favorite.article_id == Article.id)
            for favorited, favorites in (
                (False, count),
                (literal(False), func.length(Article.title)),
                (Article.id < 0, 1),
            ):
                found = uow.articles.project(ArticleRead, favorited=favorited, favorites=favorites)
                (article,) = await found.list(Article.title == "1")
                assert (article.favorited, article.favorites) == (False, 1)
            renamed = uow.articles.project(
                ChiefInPlaceOfTitle, title=select(Writer.name).where(Writer.chief_id.is_(None))
            )
            assert (await renamed.list())[0] == ChiefInPlaceOfTitle(title="chief", length=1)

    async def test_a_row_out_of_scope_is_missing_and_the_row_that_refers_to_it_stays(self, magazine: Shop) -> None:
        async with Magazine(magazine.database) as uow:
            await uow.writers.delete(await uow.writers.one(Writer.name == "bob"))
            articles = uow.articles.project(ArticleRead, favorited=False, favorites=0)

            found = await articles.page(PageParams(size=3))
            assert [article.writer and article.writer.name for article in found.items] == ["chief", None, "ann"]
            assert found.total == 25
            with uow.without("soft_delete"):
                found = await articles.page(PageParams(size=3))
            assert [article.writer and article.writer.name for article in found.items] == ["chief", "bob", "ann"]

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"favorited": True}, "ArticleRead.favorites cannot be read: Article has no column of that name"),
            (
                {"favorited": True, "favourites": 1},
                "no field favourites, which a value is given for; did you mean favorites?",
            ),
            ({"favorited": True, "favorites": func.count()}, "the value of favorites makes one row of all"),
            (
                {"favorited": True, "favorites": func.max(Favorite.reader) + 1},
                "the value of favorites makes one row of all",
            ),
            (
                {"favorited": True, "favorites": Favorite.reader},
                "the value of favorites reads a table that is not joined",
            ),
            ({"favorited": Article.writer, "favorites": 1}, "the value of favorited is .*, and no expression"),
            ({"favorited": [1], "favorites": 1}, "the value of favorited is list, and no expression"),
            ({"favorited": True, "favorites": select(Article)}, "the value of favorites selects 4 columns; select one"),
        ],
    )
    def test_what_is_no_value_of_a_row_is_refused_by_name(self, values: Any, message: str) -> None:
        with pytest.raises(TypeError, match=message.replace("?", r"\?")):
            get_projection(BaseRepository[Article], ArticleRead, **values)


class ChiefInPlaceOfTitle(BaseModel):
    title: str
    length: int


def favorited_by_reader(reader: Annotated[int, Header()]) -> ColumnElement[bool]:
    return _favorited_by(reader)


Articles = Annotated[
    Projection[ArticleRead],
    Depends(
        get_projection(BaseRepository[Article], ArticleRead, favorites=FAVORITES, favorited=favorited_by_reader),
    ),
]


class TestDependency:
    def test_the_same_values_give_the_same_dependency(self) -> None:
        values: Any = {"favorites": FAVORITES, "favorited": favorited_by_reader}
        article, schema = BaseRepository[Article], ArticleRead
        assert get_projection(article, schema, **values) is get_projection(article, schema, **values)
        assert get_projection(article, schema, **values) is not get_projection(article, schema, **values, title="x")

    async def test_a_value_of_the_request_comes_from_a_dependency(self, magazine: Shop) -> None:
        app = FastAPI()
        install(app, Magazine, database=magazine.database)

        @app.get("/articles")
        async def articles(articles: Articles, query: Annotated[CursorParams, Query()]) -> CursorPage[ArticleRead]:
            return await articles.cursor_page(query, order_by=FAVORITES.desc())

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
            first = (await client.get("/articles?size=9", headers={"reader": "2"})).json()
            second = (await client.get(f"/articles?size=9&cursor={first['next']}", headers={"reader": "1"})).json()
            refused = await client.get("/articles")

        assert [item["favorited"] for item in first["items"]] == [True] * 6 + [False] * 3
        assert [item["favorited"] for item in second["items"]] == [True] * 3 + [False] * 6
        assert refused.status_code == 422, "the dependency's own parameter"
