"""Values that a column cannot hold, alike on each database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from sqlalchemy import BigInteger, Integer, MetaData, Numeric, SmallInteger, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, FilterSet, InvalidDataError, NotFoundError, PageParams, UnitOfWork, Where
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


class Reading(Base):
    __tablename__ = "limited_readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(20), default="")
    small: Mapped[int] = mapped_column(SmallInteger, default=0)
    amount: Mapped[int] = mapped_column("amount_read", default=0)
    large: Mapped[int] = mapped_column(BigInteger, default=0)
    either: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), default=0)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), default=0)


class Code(Base):
    __tablename__ = "limited_codes"

    code: Mapped[str] = mapped_column(String(20), primary_key=True)


WITHIN: list[tuple[str, Any]] = [
    ("label", "a\x01é\U0001f600"),
    ("small", 2**15 - 1),
    ("amount", -(2**31)),
    ("amount", 2**31 - 1),
    ("large", 2**63 - 1),
    ("either", 2**40),
    ("price", Decimal("99999999.99")),
    ("price", Decimal("-99999999.994")),
]
BEYOND: list[tuple[str, Any]] = [
    ("label", "a\0b"),
    ("label", "\ud800"),
    ("small", 2**15),
    ("amount", 2**31),
    ("amount", -(2**40)),
    ("amount", Decimal("1e2000000")),
    ("large", 2**63),
    ("large", 10**30),
    ("either", 2**63),
    ("price", 10**30),
    ("price", Decimal("1e8")),
    ("price", Decimal("99999999.995")),
    ("price", Decimal("NaN")),
    ("price", Decimal("-Infinity")),
]
COLUMN = {"amount": "amount_read"}


class ReadingFilter(FilterSet):
    label: Annotated[str | None, Where(Reading.label.icontains)] = None
    small: Annotated[int | None, Where(lambda value: Reading.small == value)] = None
    amount: Annotated[Decimal | int | None, Where(lambda value: Reading.amount > value)] = None
    large: Annotated[list[int] | None, Where(Reading.large.in_)] = None
    either: Annotated[int | None, Where(lambda value: Reading.either.between(value, value))] = None
    price: Annotated[Any, Where(Reading.price.is_distinct_from)] = None


class ReadingQuery(ReadingFilter, PageParams): ...


def _query(name: str, value: Any) -> ReadingQuery:
    given: dict[str, Any] = {"page": 1, "size": 5, name: [value] if name == "large" else value}
    return ReadingQuery.model_construct(**given)


USES: dict[str, Callable[[BaseRepository[Reading], str, Any], Any]] = {
    "create": lambda readings, name, value: readings.create({name: value}),
    "create_many": lambda readings, name, value: readings.create_many([{name: None}, {name: value}]),
    "update": lambda readings, name, value: readings.update(1, {name: value}),
    "update_where": lambda readings, name, value: readings.update_where(Reading.id == 1, values={name: value}),
    "upsert": lambda readings, name, value: readings.upsert({"id": 1, name: value}),
    "upsert_many": lambda readings, name, value: readings.upsert_many([{"id": 1, name: value}]),
    "get_or_create": lambda readings, name, value: readings.get_or_create({"id": 7, name: value}, on=Reading.id),
    "criterion": lambda readings, name, value: readings.list(getattr(Reading, name) == value),
    "reversed": lambda readings, name, value: readings.exists(value < getattr(Reading, name)),
    "in": lambda readings, name, value: readings.count(getattr(Reading, name).in_([value, None])),
    "not": lambda readings, name, value: readings.first(~(getattr(Reading, name) != value)),
    "filter": lambda readings, name, value: readings.page(_query(name, value)),
    "delete_where": lambda readings, name, value: readings.delete_where(getattr(Reading, name) >= value),
}


@pytest.fixture
async def limited(async_shop: Shop) -> AsyncGenerator[Shop]:
    await async_shop.database.create_all(Base.metadata)
    try:
        async with UnitOfWork(async_shop.database) as uow:
            await uow.repository(BaseRepository[Reading]).create({"small": 0})
        yield async_shop
    finally:
        async with async_shop.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


async def test_a_value_beyond_the_limits_of_its_column_is_refused_by_name(limited: Shop) -> None:
    async with UnitOfWork(limited.database) as uow:
        readings = uow.repository(BaseRepository[Reading])
        for use, call in USES.items():
            for name, value in BEYOND:
                column = COLUMN.get(name, name)
                with pytest.raises(InvalidDataError, match=f"does not fit {column}$") as caught:
                    pytest.fail(f"{use} takes {value!r} for {name}: {await call(readings, name, value)}")
                assert (caught.value.table, caught.value.columns) == ("limited_readings", (column,)), use
        assert await readings.count() == 1, "the unit of work goes on"


async def test_a_value_within_the_limits_of_its_column_is_taken(limited: Shop) -> None:
    for use, call in USES.items():
        for name, value in WITHIN:
            async with UnitOfWork(limited.database) as uow:
                try:
                    await call(uow.repository(BaseRepository[Reading]), name, value)
                except InvalidDataError as error:
                    pytest.fail(f"{use} refuses {value!r} for {name}: {error}")
                await uow.rollback()


async def test_a_text_that_no_column_can_hold_is_refused_behind_a_function_too(limited: Shop) -> None:
    async with UnitOfWork(limited.database) as uow:
        with pytest.raises(InvalidDataError, match=r"text with a NUL character or .* does not fit label"):
            await uow.repository(BaseRepository[Reading]).count(func.lower(Reading.label) == "\0")


async def test_a_number_that_is_computed_with_may_be_of_any_size(limited: Shop) -> None:
    async with UnitOfWork(limited.database) as uow:
        assert await uow.repository(BaseRepository[Reading]).count(Reading.price * 10**12 < 1) == 1


@pytest.mark.parametrize("key", [2**31, 2**40, 2**63, 10**30, -(10**30)])
async def test_a_number_beyond_the_limits_is_a_missing_row(limited: Shop, key: int) -> None:
    async with UnitOfWork(limited.database) as uow:
        readings = uow.repository(BaseRepository[Reading])

        assert await readings.get_or_none(key) is None
        assert await readings.get_many([key, 1]) == [await readings.get(1)]
        for call in (readings.get(key), readings.update(key, {"small": 1}), readings.delete(key)):
            with pytest.raises(NotFoundError):
                await call


@pytest.mark.parametrize("key", ["\0", "a\0", "\ud800"])
async def test_a_text_beyond_the_limits_is_a_missing_row(limited: Shop, key: str) -> None:
    async with UnitOfWork(limited.database) as uow:
        codes = uow.repository(BaseRepository[Code])

        assert await codes.get_or_none(key) is None
        with pytest.raises(NotFoundError):
            await codes.delete(key)
