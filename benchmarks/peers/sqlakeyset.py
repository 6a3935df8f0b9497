"""Pages with sqlakeyset, which takes the statement and the place."""

from __future__ import annotations

from collections.abc import Sequence

from sqlakeyset.asyncio import select_page
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import PlainItem

__all__ = ["Sqlakeyset"]


class Sqlakeyset:
    """A session for each page.

    Args:
        sessions: Makes a session for each page.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def slice_after(self, key: int, size: int) -> Sequence[PlainItem]:
        """Return the items behind the one with that key."""
        statement = select(PlainItem).order_by(PlainItem.id)
        async with self._sessions() as session:
            page = await select_page(session, statement, per_page=size, page=((key,), False))
            return [item for (item,) in page]
