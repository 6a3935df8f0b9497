"""What the dialects do with a database."""

from __future__ import annotations

import asyncio

from tests.databases import Shop
from tests.shop import ShopUnitOfWork, add_item


async def _lock(shop: Shop, uow: ShopUnitOfWork) -> None:
    await uow.session.run_sync(lambda session: shop.database.dialect.locks.lock(session.connection(), "a test"))


async def test_a_lock_is_held_until_what_was_written_under_it_is_committed(async_shop: Shop) -> None:
    """Else the next one would find nothing, and write it again."""

    async def count_under_the_lock() -> int:
        async with async_shop.unit() as uow:
            await _lock(async_shop, uow)
            return await uow.items.count()

    async with async_shop.unit() as uow:
        await _lock(async_shop, uow)
        await add_item(uow, "tea")
        waiting = asyncio.create_task(count_under_the_lock())
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()

    async with asyncio.timeout(5):
        assert await waiting == 1


async def test_a_lock_is_given_back_by_a_rollback(async_shop: Shop) -> None:
    async with async_shop.unit(read_only=True) as first, asyncio.timeout(5):
        await _lock(async_shop, first)
        await first.rollback()
        await first.items.count()  # with the same connection
        async with async_shop.unit(read_only=True) as second:
            await _lock(async_shop, second)


async def test_rows_are_found_by_many_keys_whatever_is_in_them(async_shop: Shop) -> None:
    codes = ["a", "é", "'", '"', "\\", "\u2028", "10", "[1]", "null", "🍵"]

    async with async_shop.unit() as uow:
        for code in codes:
            await uow.countries.create({"code": code, "name": "x"})
        found = await uow.countries.get_many([*codes, "b"])
        rows = await uow.meters.get_many([2**60, -1])

    assert sorted(country.code for country in found) == sorted(codes)
    assert list(rows) == []
