"""The operations with fastcrud, which returns dictionaries, or schemas where `schema_to_select` asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastcrud import FastCRUD
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemCreate, ItemRead, ItemUpdate, PlainItem

__all__ = ["FastCrud", "ItemUpsert"]

_items: Any = FastCRUD(PlainItem)


class ItemUpsert(ItemCreate):
    """What is written whether it is there or not: fastcrud tells by the primary key, and by nothing else."""

    id: int


class FastCrud:
    """A session for each operation.

    Args:
        sessions: Makes a session for each operation.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def get(self, key: int) -> dict[str, Any]:
        """Return the item with that key."""
        async with self._sessions() as session:
            item: dict[str, Any] = await _items.get(session, id=key)
            return item

    async def create(self, values: dict[str, Any]) -> ItemRead:
        """Write a new item and return it."""
        async with self._sessions() as session:
            item: ItemRead = await _items.create(
                session, ItemCreate(**values), schema_to_select=ItemRead, return_as_model=True
            )
            return item

    async def update(self, key: int, values: dict[str, Any]) -> None:
        """Change an item."""
        async with self._sessions() as session:
            await _items.update(session, ItemUpdate(**values), id=key)

    async def delete(self, key: int) -> None:
        """Delete an item."""
        async with self._sessions() as session:
            await _items.delete(session, id=key)

    async def list(self, limit: int) -> Sequence[dict[str, Any]]:
        """Return the first items."""
        async with self._sessions() as session:
            found = await _items.get_multi(session, limit=limit, sort_columns="id", return_total_count=False)
            items: Sequence[dict[str, Any]] = found["data"]
            return items

    async def list_schemas(self, limit: int) -> Sequence[ItemRead]:
        """Return the first items as schemas."""
        async with self._sessions() as session:
            found = await _items.get_multi(
                session,
                limit=limit,
                sort_columns="id",
                schema_to_select=ItemRead,
                return_as_model=True,
                return_total_count=False,
            )
            items: Sequence[ItemRead] = found["data"]
            return items

    async def page(self, number: int, size: int) -> tuple[Sequence[dict[str, Any]], int]:
        """Return a page of items, and how many there are."""
        async with self._sessions() as session:
            found = await _items.get_multi(session, offset=(number - 1) * size, limit=size, sort_columns="id")
            return found["data"], found["total_count"]

    async def slice_after(self, key: int, size: int) -> Sequence[dict[str, Any]]:
        """Return the items behind the one with that key."""
        async with self._sessions() as session:
            found = await _items.get_multi_by_cursor(session, cursor=key, limit=size, sort_column="id")
            items: Sequence[dict[str, Any]] = found["data"]
            return items

    async def exists(self, name: str) -> bool:
        """Tell whether there is an item of that name."""
        async with self._sessions() as session:
            return bool(await _items.exists(session, name=name))

    async def count(self, quantity: int) -> int:
        """Return how many items have more than that."""
        async with self._sessions() as session:
            return int(await _items.count(session, quantity__gt=quantity))

    async def upsert(self, rows: Sequence[ItemUpsert]) -> None:
        """Write many rows, or change those that have the key."""
        async with self._sessions() as session:
            await _items.upsert_multi(session, rows, commit=True)
