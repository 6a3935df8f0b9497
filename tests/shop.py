"""The small domain that the tests work on: keys of every kind, and each constraint once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, MetaData, UniqueConstraint, insert
from sqlalchemy.orm import Mapped, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    BaseService,
    IntegerPrimaryKey,
    InvalidDataError,
    Timestamped,
    UnitOfWork,
    UUIDPrimaryKey,
)
from layered_backend.models import NAMING_CONVENTION


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Category(IntegerPrimaryKey, Base):
    __tablename__ = "categories"

    name: Mapped[str] = mapped_column(unique=True)
    items: Mapped[list[Item]] = relationship(back_populates="category")


class Item(IntegerPrimaryKey, Timestamped, Base):
    __tablename__ = "items"
    __table_args__ = (UniqueConstraint("shelf", "position"), CheckConstraint("price >= 0", name="price_not_negative"))

    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal]
    note: Mapped[str | None]
    color: Mapped[str] = mapped_column(default="white")
    shelf: Mapped[int | None]
    position: Mapped[int | None]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("items.id"))
    category: Mapped[Category | None] = relationship(back_populates="items")


class Document(UUIDPrimaryKey, Base):
    __tablename__ = "documents"

    title: Mapped[str]


class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Meter(Base):
    """A key whose attribute and whose column are both not called id, nor alike."""

    __tablename__ = "meters"

    serial: Mapped[int] = mapped_column("serial_no", primary_key=True, autoincrement=False)
    reading: Mapped[int]


class Stock(Base):
    """A composite key."""

    __tablename__ = "stocks"

    warehouse: Mapped[str] = mapped_column(primary_key=True)
    item_code: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]


class Movement(IntegerPrimaryKey, Base):
    """A composite foreign key, and two more that are as likely to fail."""

    __tablename__ = "movements"
    __table_args__ = (
        ForeignKeyConstraint(["warehouse", "item_code"], ["stocks.warehouse", "stocks.item_code"]),
        UniqueConstraint("from_country", "to_country", name="one_way"),
    )

    warehouse: Mapped[str | None]
    item_code: Mapped[int | None]
    from_country: Mapped[str | None] = mapped_column(ForeignKey("countries.code"))
    to_country: Mapped[str | None] = mapped_column(ForeignKey("countries.code"))


class CategoryRepository(BaseRepository[Category]):
    pass


class ItemRepository(BaseRepository[Item]):
    async def cheaper_than(self, price: Decimal) -> Sequence[Item]:
        return await self.list(Item.price < price, order_by=Item.price)


class ItemCreate(BaseModel):
    name: str
    price: Decimal
    note: str | None = None
    color: str | None = None
    category_id: int | None = None


class ItemUpdate(BaseModel):
    name: str = ""
    price: Decimal = Decimal(0)
    note: str | None = None


class ItemRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    price: Decimal
    note: str | None


class ShopUnitOfWork(UnitOfWork):
    categories: CategoryRepository
    items: ItemRepository
    documents: BaseRepository[Document]
    countries: BaseRepository[Country]
    meters: BaseRepository[Meter]
    stocks: BaseRepository[Stock]
    movements: BaseRepository[Movement]


class ItemService(BaseService[Item, ItemRepository, ItemCreate, ItemUpdate]):
    async def discount(self, item_id: int, percent: int) -> Item:
        if not 0 < percent <= 100:
            raise InvalidDataError("a discount is between 1 and 100 percent")
        item = await self.repository.get(item_id)
        return await self.repository.update(item, {"price": item.price * (100 - percent) / 100})


def new_id() -> uuid.UUID:
    return uuid.uuid4()


async def add_item(uow: ShopUnitOfWork, name: str) -> Item:
    return await uow.items.create({"name": name, "price": 1})


async def violate(uow: ShopUnitOfWork) -> None:
    """Add a second tea by a statement that fails, past the session's own bookkeeping."""
    await uow.session.execute(insert(Item).values(name="tea", price=1))
