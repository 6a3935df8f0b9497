"""Reads of every kind, for tests of what a transaction costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.shop import Item, ItemRead, ShopUnitOfWork

Work = Callable[[ShopUnitOfWork], Awaitable[Any]]


async def driver_of(uow: ShopUnitOfWork) -> Any:
    """Return the driver's own connection."""
    return (await (await uow.session.connection()).get_raw_connection()).driver_connection


READS: dict[str, Work] = {
    "get": lambda uow: uow.items.get_or_none(1),
    "list": lambda uow: uow.items.list(Item.price > 0, order_by=Item.name),
    "exists": lambda uow: uow.items.exists(Item.name == "tea"),
    "count": lambda uow: uow.items.count(),
    "projection": lambda uow: uow.items.project(ItemRead).list(Item.id.in_([1, 2])),
}
