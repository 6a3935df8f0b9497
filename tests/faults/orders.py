"""Orders and their lines: what the shop of the other tests lacks, a foreign key that is checked at COMMIT."""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint, MetaData
from sqlalchemy.orm import Mapped, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, IntegerPrimaryKey
from layered_backend.models import NAMING_CONVENTION

__all__ = ["Base", "Order", "OrderLine", "OrderLineRepository", "OrderRepository"]


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Order(IntegerPrimaryKey, Base):
    __tablename__ = "orders"

    name: Mapped[str] = mapped_column(unique=True)
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order")


class OrderLine(IntegerPrimaryKey, Base):
    __tablename__ = "order_lines"
    __table_args__ = (
        ForeignKeyConstraint(["order_id"], ["orders.id"], deferrable=True, initially="DEFERRED").ddl_if(
            dialect=("postgresql", "sqlite")  # type: ignore[arg-type]  # pyright: ignore  # MariaDB has no deferred constraints
        ),
    )

    order_id: Mapped[int]
    number: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="lines")


class OrderRepository(BaseRepository[Order]):
    pass


class OrderLineRepository(BaseRepository[OrderLine]):
    pass
