"""What seeding costs that has nothing to do, against a SELECT of all rows and a comparison written by hand.

python -m benchmarks.seeding [URL] [--rows 100000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Numeric, select
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import Database, Seeder, SeedRunner, UnitOfWork


class Base(LibraryBase):
    """Of the benchmark's own tables."""

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


ROWS = [100_000]


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows that are shipped."""
    for number in range(ROWS[0]):
        yield {
            "name": f"product {number}",
            "price": Decimal(number),
            "note": f"note {number}",
            "position": number,
        }


class ProductSeeder(Seeder[Product]):
    """The rows, told apart by name."""

    key = (Product.name,)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield them."""
        return rows()


async def seed(database: Database) -> None:
    """Seed what is there already."""
    report = await SeedRunner([ProductSeeder], database=database).run()
    assert report["ProductSeeder"].unchanged == ROWS[0], str(report)


async def compare_rows(database: Database) -> None:
    """Read the columns of all rows, and compare them."""
    statement = select(Product.name, Product.price, Product.note, Product.position, Product.id)
    async with UnitOfWork(database) as uow:
        stored = {row.name: row for row in await uow.session.execute(statement)}
    assert not [row for row in rows() if _differs(stored.get(row["name"]), row)]


async def compare_entities(database: Database) -> None:
    """Read all entities, and compare them."""
    async with UnitOfWork(database) as uow:
        stored = {product.name: product for product in await uow.session.scalars(select(Product))}
    assert not [row for row in rows() if _differs(stored.get(row["name"]), row)]


def _differs(stored: Any, row: dict[str, Any]) -> bool:
    return stored is None or any(getattr(stored, name) != value for name, value in row.items())


async def cpu_time(work: Callable[[Database], Awaitable[None]], database: Database) -> float:
    """Return the seconds of this process's CPU that *work* takes."""
    start = time.process_time()
    await work(database)
    return time.process_time() - start


async def measure(url: str, rounds: int) -> None:
    """Print the ratios of each round's three measurements: least, median and greatest."""
    against_rows: list[float] = []
    against_entities: list[float] = []
    async with Database(url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        await SeedRunner([ProductSeeder], database=database).run()
        for _ in range(rounds):
            ours = await cpu_time(seed, database)
            against_rows.append(ours / await cpu_time(compare_rows, database))
            against_entities.append(ours / await cpu_time(compare_entities, database))
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
    for name, ratios in (("rows", against_rows), ("entities", against_entities)):
        spread = f"{min(ratios):.2f} {statistics.median(ratios):.2f} {max(ratios):.2f}"
        print(f"{database.dialect.async_driver}, {ROWS[0]} unchanged rows, against {name} and a diff: {spread}")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="of a database; a file of SQLite unless given")
    parser.add_argument("--rows", type=int, default=ROWS[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ROWS[0] = arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.url or f"sqlite:///{Path(folder) / 'benchmark.db'}", arguments.rounds))


if __name__ == "__main__":
    main()
