"""Tables with a column of every kind, and rows of them: what is written at once must be what is written one by one."""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    JSON,
    REAL,
    Boolean,
    Computed,
    Date,
    DateTime,
    Dialect,
    Enum,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    null,
    select,
)
from sqlalchemy import Sequence as NumberSequence
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, IntegerPrimaryKey, Timestamped, UUIDPrimaryKey, Versioned
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop
from tests.shop import ShopUnitOfWork

on_each_database = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Kind(enum.Enum):
    HOT = "hot"
    COLD = "cold"


class Sample(IntegerPrimaryKey, Timestamped, Versioned, Base):
    """A column of every common type; names that must be quoted, and attributes that are called otherwise."""

    __tablename__ = "bulk samples"

    place: Mapped[int]
    code: Mapped[str | None] = mapped_column("The Code", unique=True)
    word: Mapped[str | None] = mapped_column(String(40), key="wort")
    prose: Mapped[str | None] = mapped_column(Text)
    country: Mapped[str | None] = mapped_column(CHAR(2))
    few: Mapped[int | None] = mapped_column(SmallInteger)
    price: Mapped[Decimal | None]
    rounded: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    ratio: Mapped[float | None]
    single: Mapped[float | None] = mapped_column(REAL)
    is_open: Mapped[bool | None] = mapped_column(Boolean)
    moment: Mapped[datetime | None]
    local: Mapped[datetime | None] = mapped_column(DateTime)
    anywhere: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[date | None] = mapped_column(Date)
    owner: Mapped[uuid.UUID | None]
    kind: Mapped[Kind | None]
    state: Mapped[str | None] = mapped_column(Enum("on", "off", native_enum=False))
    data: Mapped[Any | None] = mapped_column(JSON)
    settings: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    color: Mapped[str] = mapped_column(default="white")
    size: Mapped[int] = mapped_column(server_default="7")
    shout: Mapped[str] = mapped_column(default=func.upper("hey"))
    double: Mapped[int | None] = mapped_column(Computed("place * 2", persisted=True))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["NULL", "null", '"', "\\", "{}", ",", "", "'", '\\"', "%s", "a\nb", ":name", "$1"]
)
TENTHS = st.integers(-(10**9), 10**9).map(lambda number: Decimal(number) / 10)
FLOATS = st.floats(-(10**9), 10**9, allow_subnormal=False)
ZONES = st.sampled_from([timezone(timedelta(hours=hours)) for hours in (0, 5, -3)])
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "word": TEXTS,
    "prose": TEXTS,
    "country": st.sampled_from(["DE", "FR"]),
    "few": st.integers(-(2**15), 2**15 - 1),
    "price": TENTHS,
    "rounded": TENTHS | st.integers(0, 100),
    "ratio": FLOATS | st.integers(0, 100),
    "single": st.floats(-1000, 1000, width=16),
    "is_open": st.booleans(),
    "moment": st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=ZONES),  # noqa: DTZ001  # they get one
    "local": st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)),  # noqa: DTZ001
    "anywhere": st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=ZONES),  # noqa: DTZ001
    "day": st.dates(date(1000, 1, 1)),
    "owner": st.uuids(version=4),  # MariaDB takes no others
    "kind": st.sampled_from(Kind),
    "state": st.sampled_from(["on", "off"]),
    "data": st.recursive(
        st.integers(0, 9) | TEXTS, lambda some: st.lists(some, max_size=2) | st.dictionaries(TEXTS, some)
    ),
    "settings": st.dictionaries(TEXTS, st.booleans(), max_size=2),
    "color": TEXTS,
    "size": st.integers(0, 100),
    "version": st.integers(5, 6),
    "created_at": st.datetimes(datetime(1970, 1, 2), datetime(2000, 1, 1), timezones=ZONES),  # noqa: DTZ001
}
mixed_rows: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}), max_size=6
)
alike_rows = st.sets(st.sampled_from(sorted(VALUES)), max_size=8).flatmap(
    lambda names: st.lists(st.fixed_dictionaries({name: st.none() | VALUES[name] for name in names}), max_size=6)
)


def _slug(context: Any) -> str:
    return str(context.get_current_parameters()["name"]).lower()


class Loud(TypeDecorator[str]):
    """Text that the database writes in capitals."""

    impl = String(40)
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return func.upper(bindparam)


class Shout(IntegerPrimaryKey, Base):
    __tablename__ = "bulk_shouts"

    words: Mapped[str | None] = mapped_column(Loud)
    volume: Mapped[int] = mapped_column(server_default="11")


class Token(UUIDPrimaryKey, Base):
    """Defaults that differ from row to row, one of which asks for the rest of its row."""

    __tablename__ = "bulk_tokens"

    name: Mapped[str] = mapped_column(unique=True)
    slug: Mapped[str] = mapped_column(default=_slug)


class Folded(TypeDecorator[str]):
    """Text whose case does not count, as an address."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.lower()


class Reader(IntegerPrimaryKey, Timestamped, Versioned, Base):
    """Two unique keys, one of them of two columns."""

    __tablename__ = "bulk_readers"
    __table_args__ = (UniqueConstraint("shelf", "place"),)

    address: Mapped[str | None] = mapped_column(Folded, unique=True)
    shelf: Mapped[int | None]
    place: Mapped[int | None] = mapped_column("place")
    note: Mapped[str | None]
    color: Mapped[str] = mapped_column(default="white")
    data: Mapped[Any | None] = mapped_column(JSON)


class Coin(IntegerPrimaryKey, Base):
    """Keys in which the server does not tell all values apart."""

    __tablename__ = "bulk_coins"

    code: Mapped[str | None] = mapped_column(CHAR(3), unique=True)
    worth: Mapped[Decimal | None] = mapped_column(Numeric(12, 2), unique=True)
    weight: Mapped[float | None] = mapped_column(REAL, unique=True)
    note: Mapped[int]


class Ticket(LibraryBase):
    __tablename__ = "tickets"
    __table_args__ = {"schema": "another"}  # noqa: RUF012  # declared so by SQLAlchemy
    metadata = MetaData()

    number: Mapped[int] = mapped_column(NumberSequence("numbers", start=11, schema="another"), primary_key=True)
    holder: Mapped[str]


readers_by_address = st.fixed_dictionaries(
    {"address": st.sampled_from(["a", "A", "b", "c", None]), "shelf": st.none(), "place": st.none()},
    optional={
        "note": st.none() | TEXTS,
        "color": st.none() | st.sampled_from(["red", "blue"]),
        "data": st.none() | st.lists(st.integers(0, 9), max_size=2),
        "version": st.just(7),
    },
)
readers_by_place = st.fixed_dictionaries(
    {"shelf": st.integers(1, 2), "place": st.integers(1, 2) | st.none()}, optional={"note": st.none() | TEXTS}
)


async def with_samples(shop: Shop) -> AsyncGenerator[Shop]:
    """Make the tables, and drop them at the end."""
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield shop
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


def repository_of(uow: ShopUnitOfWork, model: type[Any]) -> BaseRepository[Any]:
    return BaseRepository(uow.session, model)


async def stored(uow: ShopUnitOfWork, model: type[Any]) -> list[dict[str, Any]]:
    """Return the rows as the table has them, but for their keys; and which of them have NULL where JSON could be null."""
    columns = [column for column in model.__table__.columns if column.name != "id"]
    are_null = [column.is_(null()).label(f"no {column.name}") for column in columns if isinstance(column.type, JSON)]
    found = await uow.session.execute(select(*columns, *are_null))
    return sorted((dict(row) for row in found.mappings()), key=repr)
