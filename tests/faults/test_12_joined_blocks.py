"""Guarantee 12: a joined block that fails undoes the whole, and a finished unit of work stays finished."""

from __future__ import annotations

import asyncio

import pytest

from layered_backend import FinishedError, RolledBackError
from tests.databases import Shop
from tests.shop import ShopUnitOfWork, add_item


async def test_a_joined_block_that_fails_is_not_forgotten(async_shop: Shop) -> None:
    async def swallow() -> None:
        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            with pytest.raises(KeyError):
                async with uow:
                    raise KeyError

    with pytest.raises(RolledBackError, match="KeyError was caught") as caught:
        await swallow()

    assert isinstance(caught.value.__cause__, KeyError)
    assert await async_shop.names() == []


async def test_a_finished_one_is_not_entered_again(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)

    def enter_again() -> None:
        with units[0]:
            pass

    await shop.run(work)

    with pytest.raises(FinishedError, match="entered once"):
        if shop.backend.asynchronous:
            async with units[0]:
                pass
        else:
            await asyncio.to_thread(enter_again)
    with pytest.raises(FinishedError, match="open a new one"):
        await units[0].items.count()
