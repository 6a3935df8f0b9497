"""Models whose keys are counted up in all the ways that there are: in hierarchies, by identities and by sequences."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FetchedValue, ForeignKey, Identity, Integer, MetaData, String
from sqlalchemy import Sequence as NumberSequence
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Base(DeclarativeBase):
    """Tables that every database can have."""

    metadata = MetaData()


class Named(Base):
    __abstract__ = True
    name: Mapped[str] = mapped_column(String(40))


class Entry(Named):
    """Joined inheritance, in three levels: the id is counted up in the first table."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("entries.id"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "entry"}  # noqa: RUF012  # SQLAlchemy's


class Essay(Entry):
    __tablename__ = "essays"
    id: Mapped[int] = mapped_column(ForeignKey("entries.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "essay"}  # noqa: RUF012  # SQLAlchemy's


class Review(Essay):
    __tablename__ = "reviews"
    review_id: Mapped[int] = mapped_column(ForeignKey("essays.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "review"}  # noqa: RUF012  # SQLAlchemy's


class Vehicle(Named):
    """Single inheritance."""

    __tablename__ = "vehicles"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012  # SQLAlchemy's


class Car(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "car"}  # noqa: RUF012  # SQLAlchemy's


class Truck(Vehicle):
    """Its column is in the table of all, and no attribute of the others."""

    trailer_id: Mapped[int | None] = mapped_column(ForeignKey("vehicles.id"))
    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012  # SQLAlchemy's


class Shape(Named):
    __tablename__ = "shapes"
    id: Mapped[int] = mapped_column(primary_key=True)


class Circle(Shape):
    """Concrete inheritance: a table, and a counter, of its own."""

    __tablename__ = "circles"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    __mapper_args__ = {"concrete": True}  # noqa: RUF012  # SQLAlchemy's


class Standard(Named):
    __tablename__ = "standards"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)


class Strict(Named):
    __tablename__ = "stricts"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)


class Number(TypeDecorator[str]):
    """An id that is no number in Python."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> int | None:
        return None if value is None else int(value.removeprefix("no. "))

    def process_result_value(self, value: int | None, dialect: Any) -> str | None:
        return None if value is None else f"no. {value}"


class Numbered(Named):
    __tablename__ = "numbereds"
    id: Mapped[str] = mapped_column(Number, primary_key=True, autoincrement=True)


NUMBERS = NumberSequence("all the numbers", metadata=Base.metadata)
STEPS = NumberSequence("steps", start=5, increment=10, metadata=Base.metadata)


class Ticket(Named):
    """A sequence of another name, which two tables share."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(NUMBERS, primary_key=True)


class Voucher(Named):
    __tablename__ = "vouchers"
    id: Mapped[int] = mapped_column(NUMBERS, primary_key=True)


class Step(Named):
    """A sequence that counts in tens, of a column that is no key."""

    __tablename__ = "steps_taken"
    code: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(STEPS, unique=True)


class Optional(Named):
    """A sequence that databases with another way of counting need not use."""

    __tablename__ = "optionals"
    id: Mapped[int] = mapped_column(NumberSequence("unused", optional=True), primary_key=True)


class ServerBase(DeclarativeBase):
    """Tables that SQLite cannot have."""

    metadata = MetaData()


class Line(ServerBase):
    """A key of two columns, one of which is counted up."""

    __tablename__ = "order_lines"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    order_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))


COUPONS = NumberSequence("coupons", metadata=ServerBase.metadata)


class Coupon(ServerBase):
    """A sequence in the default that the server computes."""

    __tablename__ = "given_coupons"
    id: Mapped[int] = mapped_column(server_default=COUPONS.next_value(), primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    rank: Mapped[int] = mapped_column(server_default="0")


class PostgreSQLBase(DeclarativeBase):
    """Tables whose defaults are of PostgreSQL."""

    metadata = MetaData()


class Bill(PostgreSQLBase):
    """A sequence that only the database knows of."""

    __tablename__ = "bills"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    number: Mapped[int] = mapped_column(server_default=FetchedValue(), unique=True)
