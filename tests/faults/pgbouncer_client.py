"""A client of PgBouncer: units of work of every kind, two at once, each of which checks what it reads.

python -m tests.faults.pgbouncer_client URL async|sync OPTIONS_OF_THE_DATABASE ROUNDS
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from decimal import Decimal
from functools import partial

from sqlalchemy import insert, text

from layered_backend import Database, ReadOnlyError, UniqueViolationError, transact, transact_sync
from tests.databases import Backend, Shop
from tests.shop import Country, Item, ShopUnitOfWork, new_id

__all__ = ["LANES", "METER"]

LANES = 2
"""How many units of work a client has open at once."""

METER = 1
"""The key of the meter to which each lane adds one in each round."""


class _UndoneError(Exception):
    pass


async def _write(uow: ShopUnitOfWork) -> None:
    name = str(new_id())
    item = await uow.items.create({"name": name, "price": 3})
    with suppress(UniqueViolationError):
        async with uow.savepoint():
            await uow.items.create({"name": name, "price": 4})
    await uow.session.execute(insert(Item), [{"name": f"{name}-{n}", "price": n} for n in range(3)])
    await uow.session.execute(
        text("UPDATE items SET note = :note WHERE name = :name"),
        [{"name": f"{name}-{n}", "note": f"{n}"} for n in range(3)],
    )
    await uow.countries.create({"code": name, "name": "x"})

    found = await uow.items.list(Item.name.startswith(name), order_by=Item.price)
    assert [(each.price, each.note) for each in found[:3]] == [(Decimal(n), f"{n}") for n in range(3)]
    assert found[3:] == [item]
    assert await uow.countries.exists(Country.code == name)


async def _ask(uow: ShopUnitOfWork, number: int) -> None:
    """Ask different questions each time, so that the clients are not at the same one with the same statement."""
    for n in range(number % 5):
        answer = await uow.session.scalar(text(f"SELECT {n} + CAST(:number AS int)"), {"number": number})
        assert answer == n + number
    with suppress(ReadOnlyError):
        await uow.countries.create({"code": "never", "name": "x"})
        raise AssertionError("a read-only unit of work has written")
    raise _UndoneError


async def _stream(uow: ShopUnitOfWork) -> None:
    """Read through a cursor of the server, several times what it gives at once."""
    result = await uow.session.stream(text("SELECT number FROM generate_series(1, 200) AS number"))
    assert [number async for (number,) in result] == [*range(1, 201)]


async def _count(uow: ShopUnitOfWork) -> None:
    meter = await uow.meters.get(METER)
    await uow.meters.update(meter, {"reading": meter.reading + 1})


async def _run_lane(shop: Shop, rounds: int) -> None:
    serializable = partial(shop.unit, isolation_level="SERIALIZABLE")
    for number in range(rounds):
        await shop.run(_write)
        with suppress(_UndoneError):
            await shop.run(partial(_ask, number=number), read_only=True)
        if shop.backend.asynchronous:
            await shop.run(_stream)
            await transact(serializable, _count, attempts=100)
        else:
            await asyncio.to_thread(transact_sync, serializable, _count, attempts=100)


async def _run(url: str, mode: str, options: str, rounds: str) -> None:
    async with Database(url, pool_size=LANES, max_overflow=0, **json.loads(options)) as database:
        shop = Shop(Backend("postgresql", url, asynchronous=mode == "async"), database)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(_run_lane(shop, int(rounds)))
        assert shop.checked_out == 0


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
