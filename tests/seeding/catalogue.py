"""A domain to seed: keys with and without a constraint, with NULL in them, trees, and values that databases change."""

from __future__ import annotations

import asyncio
import enum
import types
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    event,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, WriteOnlyMapped, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import Database, IntegerPrimaryKey, Timestamped, UnitOfWork, UUIDPrimaryKey
from layered_backend.models import NAMING_CONVENTION
from layered_backend.seeding import Seeder, SeedReport, SeedRunner
from layered_backend.session import drive
from tests.databases import Backend

__all__ = ["Base", "Catalogue", "DeferredBase", "shipping"]


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


class Category(IntegerPrimaryKey, Base):
    __tablename__ = "categories"

    name: Mapped[str] = mapped_column(unique=True)
    products: Mapped[list[Product]] = relationship(back_populates="category")


class Product(IntegerPrimaryKey, Timestamped, Base):
    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("position"),)

    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal] = mapped_column(default=Decimal(1))
    note: Mapped[str | None]
    position: Mapped[int | None]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    category: Mapped[Category | None] = relationship(back_populates="products")


class Label(UUIDPrimaryKey, Base):
    """A key with NULL in it, which no constraint keeps."""

    __tablename__ = "labels"

    scope: Mapped[str | None]
    text: Mapped[str]
    note: Mapped[str | None]


class Badge(IntegerPrimaryKey, Base):
    """A key with NULL in it, of which the constraint keeps only the rest."""

    __tablename__ = "badges"
    __table_args__ = (UniqueConstraint("scope", "text"),)

    scope: Mapped[str | None]
    text: Mapped[str]
    note: Mapped[str | None]


class Node(IntegerPrimaryKey, Base):
    """A tree whose nodes are told apart below their parent only."""

    __tablename__ = "nodes"

    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    name: Mapped[str]


class Person(Base):
    """A key that is no number, and two references to the same table, one of which may not be empty."""

    __tablename__ = "people"

    code: Mapped[str] = mapped_column(primary_key=True)
    boss_code: Mapped[str | None] = mapped_column(ForeignKey("people.code"))
    mentor_code: Mapped[str] = mapped_column(ForeignKey("people.code"))


class Sample(IntegerPrimaryKey, Base):
    """Values that come back in another form than they were written in."""

    __tablename__ = "samples"

    code: Mapped[str] = mapped_column(
        String(8).with_variant(String(8, collation="utf8mb4_nopad_bin"), "mariadb"), unique=True
    )
    data: Mapped[Any] = mapped_column(JSON, nullable=True)
    ratio: Mapped[float | None] = mapped_column(Float)
    amount: Mapped[Decimal | None] = mapped_column(Numeric(8, 2, asdecimal=True))
    taken: Mapped[datetime | None] = mapped_column(DateTime)
    seen: Mapped[datetime | None]
    day: Mapped[date | None]
    is_good: Mapped[bool | None]
    color: Mapped[Color | None]


class Tag(Base):
    """A key of two columns, and the other side of a relationship."""

    __tablename__ = "tags"

    group: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    articles: Mapped[list[Article]] = relationship(secondary=lambda: article_tags, back_populates="tags")


class Article(IntegerPrimaryKey, Base):
    """Relationships by tables between: to another table, to its own, and one that is written only."""

    __tablename__ = "articles"

    slug: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(default="article")
    tags: Mapped[set[Tag]] = relationship(secondary=lambda: article_tags, back_populates="articles")
    related: Mapped[list[Article]] = relationship(
        secondary=lambda: related_articles,
        primaryjoin=lambda: Article.id == related_articles.c.from_id,
        secondaryjoin=lambda: Article.id == related_articles.c.to_id,
    )
    categories: WriteOnlyMapped[Category] = relationship(secondary=lambda: article_categories, passive_deletes=True)
    viewed: Mapped[list[Category]] = relationship(secondary=lambda: article_categories, viewonly=True)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "article"}  # noqa: RUF012  # SQLAlchemy's


class Story(Article):
    """A subclass with a table of its own, and the relationships of the base."""

    __tablename__ = "stories"

    id: Mapped[int] = mapped_column(ForeignKey("articles.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "story"}  # noqa: RUF012  # SQLAlchemy's


article_tags: Table = Table(
    "article_tags",
    Base.metadata,
    Column("article_id", Integer, ForeignKey("articles.id"), primary_key=True),
    Column("tag_group", LibraryBase.type_annotation_map[str], primary_key=True),
    Column("tag_name", LibraryBase.type_annotation_map[str], primary_key=True),
    ForeignKeyConstraint(["tag_group", "tag_name"], ["tags.group", "tags.name"]),
)
related_articles: Table = Table(
    "related_articles",
    Base.metadata,
    Column("from_id", Integer, ForeignKey("articles.id"), primary_key=True),
    Column("to_id", Integer, ForeignKey("articles.id"), primary_key=True),
)
article_categories: Table = Table(
    "article_categories",
    Base.metadata,
    Column("article_id", Integer, ForeignKey("articles.id"), primary_key=True),
    Column("category_id", Integer, ForeignKey("categories.id"), primary_key=True),
)


class DeferredBase(DeclarativeBase):
    """Tables that MariaDB does not know how to make."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map


class Account(IntegerPrimaryKey, DeferredBase):
    """A foreign key that is checked at COMMIT."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id", deferrable=True, initially="DEFERRED"))


def shipping(model: Any, *key: Any, rows: Any, name: str = "Shipped", **declarations: Any) -> type[Seeder[Any]]:
    """Return a seeder of *model* that ships *rows*."""

    def give_rows(self: object) -> Any:
        return rows

    body = {"key": key, "rows": give_rows, **declarations}
    return types.new_class(name, (Seeder[model],), exec_body=lambda namespace: namespace.update(body))


@dataclass
class Statements:
    """What was sent to the database.

    Attributes:
        sent: The statements, in order.
    """

    sent: list[str] = field(default_factory=list[str])

    @property
    def reads(self) -> list[str]:
        """Those that read rows of tables."""
        return [sql for sql in self.sent if sql.startswith("SELECT") and "FROM" in sql and "pg_" not in sql]

    @property
    def writes(self) -> list[str]:
        return [sql for sql in self.sent if sql.startswith(("INSERT", "UPDATE", "DELETE", "ALTER"))]


@dataclass
class Catalogue:
    """The domain on one database, reached in one way.

    Attributes:
        backend: How the database is reached.
        database: The database, with the tables and no rows.
        statements: What was sent to it since the last `forget`.
    """

    backend: Backend
    database: Database
    statements: Statements = field(default_factory=Statements)

    def listen(self) -> None:
        """Begin to write down what is sent."""

        def remember(connection: Any, cursor: Any, statement: str, *execution: Any) -> None:
            self.statements.sent.append(statement.strip())

        engine = self.database.engine.sync_engine if self.backend.asynchronous else self.database.sync_engine
        event.listen(engine, "before_cursor_execute", remember)

    async def seed(self, *seeders: Any, **options: Any) -> SeedReport:
        """Run *seeders*, with an event loop or in a thread without one."""
        return await self.run(SeedRunner(seeders, database=self.database), **options)

    async def run(self, runner: SeedRunner, **options: Any) -> SeedReport:
        self.statements.sent.clear()
        if self.backend.asynchronous:
            return await runner.run(**options)
        return await asyncio.to_thread(runner.run_sync, **options)

    async def seed_well(self, *seeders: Any, **options: Any) -> SeedReport:
        """Run *seeders*, of which none may fail."""
        report = await self.seed(*seeders, **options)
        for result in report.results:
            if result.error is not None:
                raise result.error
        assert report.ok
        return report

    async def do(self, work: Any, **options: Any) -> Any:
        """Run *work* in a unit of work of its own."""
        uow = UnitOfWork(self.database, **options)
        if self.backend.asynchronous:
            async with uow:
                return await work(uow)
        return await asyncio.to_thread(_drive_in, uow, work)

    async def add(self, *entities: Any) -> None:
        """Store rows as a user of the application would."""

        async def add(uow: UnitOfWork) -> None:
            uow.session.add_all(entities)

        await self.do(add)

    async def rows(self, *attributes: Any) -> list[tuple[Any, ...]]:
        """Return the values of *attributes* of all rows, sorted."""

        async def read(uow: UnitOfWork) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await uow.session.execute(select(*attributes))]

        return sorted(await self.do(read), key=lambda row: [(value is not None, str(value)) for value in row])


def _drive_in(uow: UnitOfWork, work: Any) -> Any:
    with uow:
        return drive(work(uow))
