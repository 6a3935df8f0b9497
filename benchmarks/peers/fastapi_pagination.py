"""Pages with fastapi-pagination, which takes the statement and the parameters of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi_pagination import Page, Params, set_page
from fastapi_pagination.ext.sqlalchemy import apaginate
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemRead, PlainItem

__all__ = ["FastapiPagination"]


class FastapiPagination:
    """A session for each page, whose items are schemas: it makes no other.

    Args:
        sessions: Makes a session for each page.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def page(self, number: int, size: int) -> tuple[Sequence[ItemRead], int]:
        """Return a page of items, and how many there are."""
        statement = select(PlainItem).order_by(PlainItem.id)
        async with self._sessions() as session:
            with set_page(Page[ItemRead]):
                page: Any = await apaginate(session, statement, Params(page=number, size=size))
            return page.items, page.total
