"""What is measured: one table of the usual kinds of columns, as its user would write it with the library and without.

Both hold the same rows. The plain class is what the documentation of SQLAlchemy teaches; the peers work with it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, MetaData, Numeric, String, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, IntegerPrimaryKey, Timestamped, UnitOfWork

__all__ = [
    "STORED",
    "Item",
    "ItemCreate",
    "ItemRead",
    "ItemUpdate",
    "PlainItem",
    "ShopUnitOfWork",
    "clean_up",
    "item_values",
    "names",
    "prepare",
    "restock",
]

STORED = 10_000  # rows, before anything is measured


class Base(LibraryBase):
    """Of the benchmark's own tables."""

    __abstract__ = True
    metadata = MetaData()


class Item(IntegerPrimaryKey, Timestamped, Base):
    """An item, with the library."""

    __tablename__ = "benchmark_items"

    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    quantity: Mapped[int]
    note: Mapped[str | None]


class PlainBase(DeclarativeBase):
    """Of the plain class."""


def _now() -> datetime:
    return datetime.now(UTC)


class PlainItem(PlainBase):
    """An item, in plain SQLAlchemy."""

    __tablename__ = "benchmark_plain_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    quantity: Mapped[int]
    note: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now, onupdate=_now)


class ItemRead(BaseModel):
    """What an API answers."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    price: Decimal
    quantity: int
    note: str | None
    created_at: datetime
    updated_at: datetime


class ItemCreate(BaseModel):
    """What an API takes."""

    name: str
    price: Decimal
    quantity: int
    note: str | None = None


class ItemUpdate(BaseModel):
    """What an API changes."""

    price: Decimal | None = None
    quantity: int | None = None


class ShopUnitOfWork(UnitOfWork):
    """The unit of work, whose database each measurement gives."""

    items: BaseRepository[Item]


def item_values(number: int, prefix: str = "item") -> dict[str, Any]:
    """Return the values of an item, which differ from those of another *number* or *prefix*."""
    return {
        "name": f"{prefix} {number}",
        "price": Decimal(number % 10_000) / 100,
        "quantity": number % 97,
        "note": None if number % 3 else f"note {number}",
    }


async def prepare(engine: AsyncEngine) -> None:
    """Make the tables anew, each with the same rows."""
    async with engine.begin() as connection:
        for metadata in (Base.metadata, PlainBase.metadata):
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
    await restock(engine)


async def restock(engine: AsyncEngine) -> None:
    """Put the same rows into both tables, and nothing else; keys count from 1."""
    async with engine.begin() as connection:
        for mapped in (Item, PlainItem):
            is_sqlite = engine.dialect.name == "sqlite"
            emptied = "DELETE FROM {}" if is_sqlite else "TRUNCATE {} RESTART IDENTITY"
            await connection.execute(text(emptied.format(mapped.__tablename__)))
            await connection.execute(insert(mapped), list(_stored()))
        await connection.execute(text("ANALYZE"))


async def clean_up(engine: AsyncEngine) -> None:
    """Drop the tables."""
    async with engine.begin() as connection:
        for metadata in (Base.metadata, PlainBase.metadata):
            await connection.run_sync(metadata.drop_all)


def _stored() -> Iterator[dict[str, Any]]:
    return (item_values(number) for number in range(STORED))


def names(items: Sequence[Any]) -> Sequence[str]:
    """Return what two ways of reading the same rows must agree on."""
    return [item.name for item in items]
