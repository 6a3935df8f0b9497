"""The measure of all things: each operation by hand, as the documentation of SQLAlchemy teaches it.

A session for each operation, `expire_on_commit=False` as the asyncio chapter has it, and an explicit commit after a write.
Frozen: it was written before anything of the library was made faster, and it stays as it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemRead, PlainItem

__all__ = ["Handwritten"]

_ITEMS = TypeAdapter(list[ItemRead])


class Handwritten:
    """The operations on one database.

    Args:
        sessions: Makes a session for each operation.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def get(self, key: int) -> PlainItem | None:
        """Return the item with that key."""
        async with self._sessions() as session:
            return await session.get(PlainItem, key)

    async def get_schema(self, key: int) -> ItemRead:
        """Return the item with that key as a schema."""
        async with self._sessions() as session:
            return ItemRead.model_validate(await session.get(PlainItem, key))

    async def create(self, values: dict[str, Any]) -> PlainItem:
        """Write a new item and return it."""
        async with self._sessions() as session:
            item = PlainItem(**values)
            session.add(item)
            await session.commit()
            return item

    async def update(self, key: int, values: dict[str, Any]) -> PlainItem:
        """Change an item and return it."""
        async with self._sessions() as session:
            item = await session.get(PlainItem, key)
            assert item is not None
            for name, value in values.items():
                setattr(item, name, value)
            await session.commit()
            return item

    async def delete(self, key: int) -> PlainItem:
        """Delete an item and return it."""
        async with self._sessions() as session:
            item = await session.get(PlainItem, key)
            assert item is not None
            await session.delete(item)
            await session.commit()
            return item

    async def list(self, limit: int) -> Sequence[PlainItem]:
        """Return the first items."""
        async with self._sessions() as session:
            return (await session.scalars(select(PlainItem).order_by(PlainItem.id).limit(limit))).all()

    async def list_schemas(self, limit: int) -> Sequence[ItemRead]:
        """Return the first items as schemas."""
        async with self._sessions() as session:
            items = await session.scalars(select(PlainItem).order_by(PlainItem.id).limit(limit))
            return _ITEMS.validate_python(items.all(), from_attributes=True)

    async def page(self, number: int, size: int) -> tuple[Sequence[PlainItem], int]:
        """Return a page of items, and how many there are."""
        async with self._sessions() as session:
            total = await session.scalar(select(func.count()).select_from(PlainItem))
            page = select(PlainItem).order_by(PlainItem.id).limit(size).offset((number - 1) * size)
            return (await session.scalars(page)).all(), total or 0

    async def slice(self, offset: int, size: int) -> Sequence[PlainItem]:
        """Return the items behind the first *offset*."""
        async with self._sessions() as session:
            page = select(PlainItem).order_by(PlainItem.id).limit(size).offset(offset)
            return (await session.scalars(page)).all()

    async def slice_after(self, key: int, size: int) -> Sequence[PlainItem]:
        """Return the items behind the one with that key."""
        async with self._sessions() as session:
            page = select(PlainItem).where(PlainItem.id > key).order_by(PlainItem.id).limit(size)
            return (await session.scalars(page)).all()

    async def stream(self) -> AsyncGenerator[PlainItem]:
        """Yield all items."""
        async with self._sessions() as session:
            statement = select(PlainItem).order_by(PlainItem.id).execution_options(yield_per=1_000)
            async for item in await session.stream_scalars(statement):
                yield item

    async def exists(self, name: str) -> bool:
        """Tell whether there is an item of that name."""
        async with self._sessions() as session:
            return bool(await session.scalar(select(select(PlainItem).where(PlainItem.name == name).exists())))

    async def count(self, quantity: int) -> int:
        """Return how many items have more than that."""
        async with self._sessions() as session:
            found = await session.scalar(
                select(func.count()).select_from(PlainItem).where(PlainItem.quantity > quantity)
            )
            return found or 0

    async def insert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many new rows."""
        async with self._sessions() as session:
            await session.execute(insert(PlainItem), list(rows))
            await session.commit()

    async def upsert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write many rows, or change the quantity of those that have the name."""
        async with self._sessions() as session:
            dialect = session.get_bind().dialect.name
            statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(PlainItem)
            changed = {"quantity": statement.excluded.quantity, "updated_at": statement.excluded.updated_at}
            upsert = statement.on_conflict_do_update(index_elements=[PlainItem.name], set_=changed)
            await session.execute(upsert, list(rows))
            await session.commit()
