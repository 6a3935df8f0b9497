"""The operations with advanced-alchemy.

Its documentation teaches a repository or a service on a session; the repository costs less, and is used for all but
updates by key and a dictionary, which only the service has. `auto_commit=True` is its documentation's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from advanced_alchemy.filters import LimitOffset
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemRead, PlainItem

__all__ = ["AdvancedAlchemy", "ItemService", "upsert_by_name"]


class ItemRepository(SQLAlchemyAsyncRepository[PlainItem]):
    """Of the items."""

    model_type = PlainItem


class ItemService(SQLAlchemyAsyncRepositoryService[PlainItem, ItemRepository]):
    """Of the items."""

    repository_type = ItemRepository


class AdvancedAlchemy:
    """A session for each operation.

    Args:
        sessions: Makes a session for each operation.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def get(self, key: int) -> PlainItem:
        """Return the item with that key."""
        async with self._sessions() as session:
            item: PlainItem = await ItemRepository(session=session).get(key)
            return item

    async def create(self, values: dict[str, Any]) -> PlainItem:
        """Write a new item and return it."""
        async with self._sessions() as session:
            item: PlainItem = await ItemRepository(session=session).add(PlainItem(**values), auto_commit=True)
            return item

    async def update(self, key: int, values: dict[str, Any]) -> PlainItem:
        """Change an item and return it."""
        async with self._sessions() as session:
            item: PlainItem = await ItemService(session=session).update(values, item_id=key, auto_commit=True)
            return item

    async def delete(self, key: int) -> PlainItem:
        """Delete an item and return it."""
        async with self._sessions() as session:
            item: PlainItem = await ItemRepository(session=session).delete(key, auto_commit=True)
            return item

    async def list(self, limit: int) -> Sequence[PlainItem]:
        """Return the first items."""
        async with self._sessions() as session:
            items: Sequence[PlainItem] = await ItemRepository(session=session).get_many(
                LimitOffset(limit=limit, offset=0), order_by=("id", False)
            )
            return items

    async def list_schemas(self, limit: int) -> Sequence[ItemRead]:
        """Return the first items as schemas."""
        async with self._sessions() as session:
            service = ItemService(session=session)
            items = await service.get_many(LimitOffset(limit=limit, offset=0), order_by=("id", False))
            schemas: Sequence[ItemRead] = service.to_schema(items, schema_type=ItemRead).items
            return schemas

    async def page(self, number: int, size: int) -> tuple[Sequence[PlainItem], int]:
        """Return a page of items, and how many there are."""
        async with self._sessions() as session:
            page: tuple[Sequence[PlainItem], int] = await ItemRepository(session=session).get_many_and_count(
                LimitOffset(limit=size, offset=(number - 1) * size), order_by=("id", False)
            )
            return page

    async def slice(self, offset: int, size: int) -> Sequence[PlainItem]:
        """Return the items behind the first *offset*: it has no cursors."""
        async with self._sessions() as session:
            items: Sequence[PlainItem] = await ItemRepository(session=session).get_many(
                LimitOffset(limit=size, offset=offset), order_by=("id", False)
            )
            return items

    async def exists(self, name: str) -> bool:
        """Tell whether there is an item of that name."""
        async with self._sessions() as session:
            return bool(await ItemRepository(session=session).exists(name=name))

    async def count(self, quantity: int) -> int:
        """Return how many items have more than that."""
        async with self._sessions() as session:
            return int(await ItemRepository(session=session).count(PlainItem.quantity > quantity))

    async def insert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many new rows."""
        async with self._sessions() as session:
            await ItemRepository(session=session).add_many([PlainItem(**row) for row in rows], auto_commit=True)

    async def upsert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many rows, or change those that have the name."""
        async with self._sessions() as session:
            await ItemRepository(session=session).upsert_many(
                [PlainItem(**row) for row in rows], match_fields=["name"], auto_commit=True
            )


async def upsert_by_name(sessions: async_sessionmaker[AsyncSession], entities: list[Any]) -> None:
    """Write entities of one mapped class, or change those that have the name."""

    class Repository(SQLAlchemyAsyncRepository[Any]):
        model_type = type(entities[0])

    async with sessions() as session:
        await Repository(session=session).upsert_many(entities, match_fields=["name"], auto_commit=True)
