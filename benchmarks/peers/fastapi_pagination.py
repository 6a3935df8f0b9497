"""Pages with fastapi-pagination, which takes the statement and the parameters of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi_pagination import Page, Params, set_page
from fastapi_pagination.cursor import CursorPage, CursorParams
from fastapi_pagination.customization import CustomizedPage, UseIncludeTotal
from fastapi_pagination.ext.sqlalchemy import apaginate
from sqlakeyset import serialize_bookmark
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemRead, PlainItem

__all__ = ["FastapiPagination"]

_CursorPage: Any = CustomizedPage[CursorPage[ItemRead], UseIncludeTotal(False)]  # it would count all rows otherwise


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

    async def slice_after(self, cursor: str, size: int) -> Sequence[ItemRead]:
        """Return the items at a cursor."""
        statement = select(PlainItem).order_by(PlainItem.id)
        async with self._sessions() as session:
            with set_page(_CursorPage):
                params = _CursorPage.__params_type__(cursor=cursor, size=size)
                page: Any = await apaginate(session, statement, params)
            items: Sequence[ItemRead] = page.items
            return items

    @staticmethod
    def cursor_behind(key: int) -> str:
        """Return the cursor that the page before the one behind that key would give."""
        return str(CursorParams().encode_cursor(serialize_bookmark(((key,), False))))
