"""A model for everything that a migration must get right: each mixin, each portable type, each kind of constraint."""

from __future__ import annotations

import enum
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from layered_backend import (
    Base as PortableBase,
)
from layered_backend import IntegerPrimaryKey, SoftDeletable, Timestamped, UUIDPrimaryKey, Versioned
from layered_backend.models import NAMING_CONVENTION


class Base(DeclarativeBase):
    """As `layered_backend.Base`, with tables of its own."""

    metadata = type(PortableBase.metadata)(naming_convention=NAMING_CONVENTION)
    type_annotation_map = PortableBase.type_annotation_map


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Category(IntegerPrimaryKey, Base):
    __tablename__ = "categories"

    name: Mapped[str] = mapped_column(unique=True)


class Item(IntegerPrimaryKey, Timestamped, Versioned, SoftDeletable, Base):
    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("name", "category_id"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        Index(None, "name", "price"),
    )

    name: Mapped[str]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id", ondelete="CASCADE"), index=True)
    price: Mapped[Decimal]
    fixed: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default="1.50")
    stock: Mapped[int] = mapped_column(server_default="0")
    is_on_sale: Mapped[bool] = mapped_column(server_default=false())
    is_shown: Mapped[bool] = mapped_column(server_default=true())
    status: Mapped[str] = mapped_column(String(20), server_default="new")
    seen_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class Everything(UUIDPrimaryKey, Base):
    __tablename__ = "everything"

    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    colour: Mapped[Colour]
    checked: Mapped[Colour] = mapped_column(Enum(Colour, native_enum=False, create_constraint=True, name="checked"))
    flag: Mapped[bool]
    small: Mapped[int] = mapped_column(SmallInteger)
    big: Mapped[int] = mapped_column(BigInteger)
    real: Mapped[float]
    double: Mapped[float] = mapped_column(Double)
    day: Mapped[date]
    clock: Mapped[time]
    span: Mapped[timedelta | None]
    note: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(String(8))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    blob: Mapped[bytes] = mapped_column(LargeBinary)
    other: Mapped[uuid.UUID | None]
    generated: Mapped[str] = mapped_column(String(8), server_default=text("'x'"))
