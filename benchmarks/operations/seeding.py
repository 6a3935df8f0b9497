"""Seeding rows again that are stored already, against a hand-written SELECT and comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import MetaData, Numeric, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks.contenders import ADVANCED_ALCHEMY, ENTITIES, HAND
from benchmarks.measuring import Operation, Work
from benchmarks.peers.advanced_alchemy import upsert_by_name
from benchmarks.stage import Stage
from layered_backend import Base as LibraryBase
from layered_backend import Database, Seeder, SeedRunner

__all__ = ["seeding"]


class Base(LibraryBase):
    """Of the table that is seeded."""

    __abstract__ = True
    metadata = MetaData()


class Product(Base):
    """Four columns of the usual kinds."""

    __tablename__ = "benchmark_products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    note: Mapped[str | None]
    position: Mapped[int]


def seeding(stage: Stage) -> Sequence[Operation]:
    """Return the operations: against rows and against entities, and with few rows against a peer's too.

    Each has the same rows shipped and stored, and all agree that nothing differs.
    """
    many, few = 100_000, 1_000
    return [
        _seeding(
            stage,
            many,
            "against rows",
            {HAND: lambda _: _compare_rows(stage.sessions, many), ENTITIES: lambda _: _seed(stage.database, many)},
        ),
        _seeding(
            stage,
            many,
            "against entities",
            {HAND: lambda _: _compare_entities(stage.sessions, many), ENTITIES: lambda _: _seed(stage.database, many)},
        ),
        _seeding(
            stage,
            few,
            "against rows",
            {
                HAND: lambda _: _compare_rows(stage.sessions, few),
                ENTITIES: lambda _: _seed(stage.database, few),
                ADVANCED_ALCHEMY: lambda _: _upsert(stage.sessions, few),
            },
        ),
    ]


def _seeding(stage: Stage, count: int, against: str, contenders: Mapping[str, Work]) -> Operation:
    async def begin() -> None:
        await _drop(stage)
        async with stage.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(insert(Product), list(_rows(count)))

    async def differing(contender: str, result: Any, number: int) -> int:
        async with stage.engine.connect() as connection:
            stored = await connection.execute(select(Product.name, Product.price, Product.note, Product.position))
            names = {row.name: row for row in stored}
        assert len(names) == count
        return (result or 0) + sum(_differs(names[row["name"]], row) for row in _rows(count))

    return Operation(
        section="Writing",
        name=f"re-seed {count:,} rows, {against}",
        contenders=contenders,
        outcome=differing,
        chunk=1,
        turns=1 if count > 1_000 else 5,  # noqa: PLR2004  # a turn with many rows takes long enough
        begin=begin,
        end=partial(_drop, stage),
    )


async def _drop(stage: Stage) -> None:
    async with stage.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


def _rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield the rows that are shipped."""
    for number in range(count):
        yield {
            "name": f"product {number}",
            "price": Decimal(number),
            "note": f"note {number}",
            "position": number,
        }


class _ProductSeeder(Seeder[Product]):
    """The rows, told apart by name."""

    key = (Product.name,)
    count = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield them."""
        return _rows(self.count)


class _ManyProducts(_ProductSeeder):
    count = 100_000


class _FewProducts(_ProductSeeder):
    count = 1_000


async def _seed(database: Database, count: int) -> int:
    """Seed what is there already, and return how many rows it writes."""
    seeder = next(each for each in (_ManyProducts, _FewProducts) if each.count == count)
    report = await SeedRunner([seeder], database=database).run()
    (result,) = report.results
    assert result.unchanged == count, str(report)
    return result.inserted + result.updated + result.deleted


async def _compare_rows(sessions: async_sessionmaker[AsyncSession], count: int) -> int:
    """Read the columns of all rows, and return how many differ from what is shipped."""
    statement = select(Product.name, Product.price, Product.note, Product.position, Product.id)
    async with sessions() as session:
        stored = {row.name: row for row in await session.execute(statement)}
    return sum(_differs(stored.get(row["name"]), row) for row in _rows(count))


async def _compare_entities(sessions: async_sessionmaker[AsyncSession], count: int) -> int:
    """Read all entities, and return how many differ from what is shipped."""
    async with sessions() as session:
        stored = {product.name: product for product in await session.scalars(select(Product))}
    return sum(_differs(stored.get(row["name"]), row) for row in _rows(count))


async def _upsert(sessions: async_sessionmaker[AsyncSession], count: int) -> None:
    """Write all rows, whether they are there or not: what differs is not counted."""
    await upsert_by_name(sessions, [Product(**row) for row in _rows(count)])


def _differs(stored: Any, row: Mapping[str, Any]) -> bool:
    return stored is None or any(getattr(stored, name) != value for name, value in row.items())
