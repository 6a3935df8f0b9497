"""The application by hand: a session for each request, as the documentation of FastAPI has it.

Frozen, as the operations by hand are.
"""

# No deferred annotations: FastAPI could not look up what is defined inside the function.

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemCreate, ItemRead, PlainItem

__all__ = ["bare_application", "handwritten_application"]


def handwritten_application(sessions: async_sessionmaker[AsyncSession]) -> FastAPI:
    """Return the application on those sessions."""

    async def get_session() -> AsyncGenerator[AsyncSession]:
        async with sessions() as session:
            yield session

    app = FastAPI()

    @app.get("/nothing")
    async def nothing(session: Annotated[AsyncSession, Depends(get_session)]) -> dict[str, bool]:
        return {"done": True}

    @app.get("/items/{item_id}", response_model=ItemRead)
    async def read_item(item_id: int, session: Annotated[AsyncSession, Depends(get_session)]) -> PlainItem:
        item = await session.get(PlainItem, item_id)
        if item is None:
            raise HTTPException(status_code=404, detail="Item not found")
        return item

    @app.get("/items", response_model=list[ItemRead])
    async def read_items(
        session: Annotated[AsyncSession, Depends(get_session)], offset: int = 0, limit: int = 50
    ) -> Sequence[PlainItem]:
        statement = select(PlainItem).order_by(PlainItem.id).offset(offset).limit(limit)
        return (await session.scalars(statement)).all()

    @app.post("/items", response_model=ItemRead, status_code=201)
    async def create_item(data: ItemCreate, session: Annotated[AsyncSession, Depends(get_session)]) -> PlainItem:
        item = PlainItem(**data.model_dump())
        session.add(item)
        await session.commit()
        return item

    return app


def bare_application() -> FastAPI:
    """Return an application that does nothing, and depends on nothing."""
    app = FastAPI()

    @app.get("/nothing")
    async def nothing() -> dict[str, bool]:
        return {"done": True}

    return app
