"""How much a database reads for a cursor page, wherever the page is: by the database's own counters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Enum, Index, MetaData, Numeric, insert, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, CursorParams, IntegerPrimaryKey
from layered_backend.query.sort_terms import OrderBy
from tests.databases import Shop
from tests.shop import ShopUnitOfWork
from tests.statements import Statements

ROWS = 6_000
SIZE = 10
NULLS = 5  # every so many rows


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class Delivery(IntegerPrimaryKey, Base):
    """Each sort of the tests has an index; on PostgreSQL with the primary key in it, which the others add themselves."""

    __tablename__ = "deliveries"

    weight: Mapped[int | None]
    load: Mapped[int | None]
    street: Mapped[int]
    city: Mapped[int]
    zone: Mapped[int]
    code: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Any] = mapped_column(Numeric(20, 8, asdecimal=False))
    size: Mapped[str] = mapped_column(Enum("s", "m", "l", name="delivery_size"))
    __table_args__ = (
        Index("deliveries_weight", "weight", "id"),
        Index("deliveries_load_street", "load", "street", "id"),
        Index("deliveries_city_street", "city", "street", "id"),
        Index("deliveries_price", "price", "id"),
        Index("deliveries_size", "size", "id"),
    )


Index("deliveries_mixed", Delivery.zone.desc(), Delivery.street, Delivery.id)


def _delivery(number: int) -> dict[str, Any]:
    return {
        "weight": None if number % NULLS == 0 else number % 50,
        "load": None if number % NULLS == 0 else number % 50,
        "street": number % 7,
        "city": number % 3,
        "zone": number % 3,
        "code": f"{number:05}",
        "price": number / 8,
        "size": "sml"[number % 3],
    }


@pytest.fixture
async def deliveries(async_shop: Shop) -> AsyncGenerator[Shop]:
    async with async_shop.database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Delivery), [_delivery(number) for number in range(ROWS)])
        analyzed = "ANALYZE TABLE deliveries" if async_shop.backend.server == "mariadb" else "ANALYZE deliveries"
        await connection.execute(text(analyzed))
    yield async_shop
    async with async_shop.database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


async def _rows_read(session: AsyncSession, server: str) -> int:
    """Return how many rows, or entries of an index, the transaction has read so far."""
    if server == "mariadb":
        read = await session.execute(text("SHOW SESSION STATUS LIKE 'Handler_read_%'"))
        return sum(int(count) for _, count in read)
    counted = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'")
    return await session.scalar(counted) or 0


class Steps:
    """Counts, a hundred at a time, the steps of SQLite's machine: it takes a few for each row."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self) -> int:
        self.taken += 100
        return 0


SORTS: dict[str, OrderBy] = {
    "a column with NULL": Delivery.weight,
    "a column with NULL, descending": Delivery.weight.desc(),
    "a column with NULL in front": Delivery.weight.nulls_first(),
    "a column with NULL at the end, descending": Delivery.weight.desc().nulls_last(),
    "two columns, one with NULL": [Delivery.load, Delivery.street],
    "two columns, one with NULL in front": [Delivery.load.desc(), Delivery.street.desc()],
    "two columns": [Delivery.city.desc(), Delivery.street.desc()],
    "mixed directions": [Delivery.zone.desc(), Delivery.street],
    "a unique key": Delivery.code.desc(),
    "a column that is read with fewer digits": Delivery.price,
}


STEPS_FOR_A_ROW = 100


async def test_a_page_reads_no_more_far_behind_than_at_the_beginning(deliveries: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        for sort in SORTS:  # of the same rows, which take longer to write than to walk
            await _walk(uow, deliveries, sort)

    await deliveries.run(work)


async def _walk(uow: ShopUnitOfWork, deliveries: Shop, sort: str) -> None:
    """Read pages of a hundred to the end, and behind every fourth of them one that is measured, there and back."""
    rows, order_by, counted = BaseRepository(uow.session, Delivery), SORTS[sort], await _counter(uow, deliveries)
    limit = _limit(deliveries.backend.server, sort)
    cursor: str | None = None
    for number in range(ROWS // 100):
        for side in ("next", "previous") if number % 4 == 0 else ():
            if cursor is None and side == "previous":
                continue
            before = await counted()
            with Statements(deliveries) as statements:
                page = await rows.cursor_page(CursorParams(cursor=cursor, size=SIZE), order_by=order_by)
            assert await counted() - before <= limit, (sort, number, side, statements.sent)
            assert len(statements.sent) <= 4
            cursor = page.previous if side == "next" else page.next
        far = await rows.cursor_page(CursorParams(cursor=cursor, size=100), order_by=order_by)
        cursor = far.next
        if cursor is None:
            break


async def _counter(uow: ShopUnitOfWork, deliveries: Shop) -> Callable[[], Awaitable[int]]:
    """Return what tells how much the transaction has read so far."""
    server, steps = deliveries.backend.server, Steps()
    if server == "sqlite":
        raw: Any = await (await uow.session.connection()).get_raw_connection()
        await raw.driver_connection.set_progress_handler(steps, 100)

    async def counted() -> int:
        return steps.taken if server == "sqlite" else await _rows_read(uow.session, server)

    return counted


def _limit(server: str, sort: str) -> int:
    """Return how much a page may read."""
    if server == "mariadb" and "with NULL" in sort:
        return 10 * SIZE + ROWS // NULLS  # it looks up NULL, and begins there
    return STEPS_FOR_A_ROW * SIZE if server == "sqlite" else 10 * SIZE
