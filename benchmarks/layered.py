"""The operations with the library: entities, projections in a transaction, and projections outside one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from benchmarks.shop import Item, ItemRead, ShopUnitOfWork
from layered_backend import CursorPage, CursorParams, Database, Page, PageParams, Projection
from layered_backend.projection import AutocommitSource
from layered_backend.query.scope import ActiveScopes

__all__ = ["Alone", "Entities", "Projections"]


class Entities:
    """A unit of work for each operation, and entities.

    Args:
        database: Where to work.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: int) -> Item:
        """Return the item with that key."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.get(key)

    async def create(self, values: dict[str, Any]) -> Item:
        """Write a new item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.create(values)

    async def update(self, key: int, values: dict[str, Any]) -> Item:
        """Change an item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.update(key, values)

    async def delete(self, key: int) -> Item:
        """Delete an item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.delete(key)

    async def list(self, limit: int) -> Sequence[Item]:
        """Return the first items."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.list(limit=limit)

    async def page(self, number: int, size: int) -> Page[Item]:
        """Return a page of items, and how many there are."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.page(PageParams(page=number, size=size))

    async def cursor_page(self, cursor: str | None, size: int) -> CursorPage[Item]:
        """Return the page at a cursor."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.cursor_page(CursorParams(cursor=cursor, size=size))

    async def stream(self) -> AsyncGenerator[Item]:
        """Yield all items."""
        async with ShopUnitOfWork(self._database) as uow:
            async for item in uow.items.stream():
                yield item

    async def exists(self, name: str) -> bool:
        """Tell whether there is an item of that name."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.exists(Item.name == name)

    async def count(self, quantity: int) -> int:
        """Return how many items have more than that."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.count(Item.quantity > quantity)

    async def insert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many new rows."""
        async with ShopUnitOfWork(self._database) as uow:
            await uow.items.create_many(rows)

    async def upsert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many rows, or change the quantity of those that have the name."""
        async with ShopUnitOfWork(self._database) as uow:
            await uow.items.upsert_many(rows, on=Item.name, update=Item.quantity)


class Projections:
    """A unit of work for each operation, and schemas.

    Args:
        database: Where to work.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: int) -> ItemRead:
        """Return the item with that key."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.project(ItemRead).get(key)

    async def list(self, limit: int) -> Sequence[ItemRead]:
        """Return the first items."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.project(ItemRead).list(limit=limit)

    async def page(self, number: int, size: int) -> Page[ItemRead]:
        """Return a page of items, and how many there are."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.project(ItemRead).page(PageParams(page=number, size=size))

    async def create(self, values: dict[str, Any]) -> ItemRead:
        """Write a new item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.returning(ItemRead).create(values)

    async def update(self, key: int, values: dict[str, Any]) -> ItemRead:
        """Change an item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.returning(ItemRead).update(key, values)

    async def delete(self, key: int) -> ItemRead:
        """Delete an item and return it."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.returning(ItemRead).delete(key)

    async def cursor_page(self, cursor: str | None, size: int) -> CursorPage[ItemRead]:
        """Return the page at a cursor."""
        async with ShopUnitOfWork(self._database) as uow:
            return await uow.items.project(ItemRead).cursor_page(CursorParams(cursor=cursor, size=size))

    async def stream(self) -> AsyncGenerator[ItemRead]:
        """Yield all items."""
        async with ShopUnitOfWork(self._database) as uow:
            async for item in uow.items.project(ItemRead).stream():
                yield item


class Alone:
    """Schemas, and no unit of work: each read is a transaction of its own.

    Args:
        database: Where to work.
    """

    def __init__(self, database: Database) -> None:
        self._source = AutocommitSource(database, ActiveScopes())

    @property
    def _items(self) -> Projection[ItemRead]:
        return Projection(self._source, Item, ItemRead)

    async def get(self, key: int) -> ItemRead:
        """Return the item with that key."""
        return await self._items.get(key)

    async def list(self, limit: int) -> Sequence[ItemRead]:
        """Return the first items."""
        return await self._items.list(limit=limit)

    async def page(self, number: int, size: int) -> Page[ItemRead]:
        """Return a page of items, and how many there are."""
        return await self._items.page(PageParams(page=number, size=size))

    async def cursor_page(self, cursor: str | None, size: int) -> CursorPage[ItemRead]:
        """Return the page at a cursor."""
        return await self._items.cursor_page(CursorParams(cursor=cursor, size=size))

    def stream(self) -> AsyncGenerator[ItemRead]:
        """Yield all items."""
        return self._items.stream()
