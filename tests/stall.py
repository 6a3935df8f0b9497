"""A small domain behind routers of `crud_router`: rows with versions, nested rows, and keys of each kind."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import Mapped, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    BaseService,
    CursorParams,
    FilterSet,
    IntegerPrimaryKey,
    PageParams,
    Sorting,
    Timestamped,
    UnitOfWork,
    UUIDPrimaryKey,
    Versioned,
    Where,
)
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Maker(IntegerPrimaryKey, Base):
    __tablename__ = "stall_makers"

    name: Mapped[str] = mapped_column(unique=True)


class Product(IntegerPrimaryKey, Timestamped, Versioned, Base):
    __tablename__ = "stall_products"

    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal]
    note: Mapped[str | None]
    amount: Mapped[int | None]
    made_on: Mapped[datetime.date | None]
    color: Mapped[str] = mapped_column(default="white")
    finish: Mapped[str] = mapped_column(default=lambda: "matt")
    shade: Mapped[str] = mapped_column(server_default="dark")
    secret: Mapped[str] = mapped_column(default="hidden")
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("stall_makers.id"))
    maker: Mapped[Maker | None] = relationship()


class Place(Base):
    """A composite key."""

    __tablename__ = "stall_places"

    warehouse: Mapped[str] = mapped_column(primary_key=True)
    item_code: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]


class Paper(UUIDPrimaryKey, Base):
    __tablename__ = "stall_papers"

    title: Mapped[str]


class ProductCreate(BaseModel):
    name: str
    price: Decimal
    note: str | None = None
    amount: int | None = None
    made_on: datetime.date | None = None
    color: str | None = None
    finish: str | None = None
    shade: str | None = None
    maker_id: int | None = None


class ProductUpdate(BaseModel):
    name: str = ""
    price: Decimal = Decimal(0)
    note: str | None = None
    amount: int | None = None


class ProductRead(BaseModel):
    id: int
    name: str
    price: Decimal
    note: str | None
    color: str


class MakerRead(BaseModel):
    name: str


class ProductWithMaker(ProductRead):
    maker: MakerRead | None


class ProductFilter(FilterSet):
    name: Annotated[str | None, Where(Product.name.icontains)] = None
    cheaper_than: Annotated[Decimal | None, Where(lambda price: Product.price < price)] = None
    amount: Annotated[int | None, Where(lambda amount: Product.amount == amount)] = None


class ProductSorting(Sorting):
    keys = {"name": Product.name, "price": Product.price}  # noqa: RUF012  # declared so


class ProductQuery(ProductFilter, ProductSorting, PageParams):
    pass


class ProductCursorQuery(ProductFilter, ProductSorting, CursorParams):
    pass


class PlaceCreate(BaseModel):
    warehouse: str
    item_code: int
    amount: int


class PlaceUpdate(BaseModel):
    amount: int = 0


class PaperCreate(BaseModel):
    id: uuid.UUID | None = None
    title: str


class PaperUpdate(BaseModel):
    title: str = Field("", max_length=200)


class PaperRead(BaseModel):
    id: uuid.UUID
    title: str


class ProductRepository(BaseRepository[Product]):
    pass


class ProductService(BaseService[Product, ProductRepository, ProductCreate, ProductUpdate]):
    pass


class PlaceService(BaseService[Place, BaseRepository[Place], PlaceCreate, PlaceUpdate]):
    pass


class PaperService(BaseService[Paper, BaseRepository[Paper], PaperCreate, PaperUpdate]):
    pass


class StallUnitOfWork(UnitOfWork):
    makers: BaseRepository[Maker]
    products: ProductRepository


@asynccontextmanager
async def tables_in(shop: Shop) -> AsyncGenerator[None]:
    """Make the tables for the block, and drop them at its end."""
    await shop.database.create_all(Base.metadata)
    try:
        yield
    finally:
        async with StallUnitOfWork(shop.database) as uow:
            await uow.session.run_sync(_drop)


def _drop(session: Any) -> None:
    Base.metadata.drop_all(session.connection())
