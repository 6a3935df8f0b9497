"""The application with fastcrud, whose documentation teaches its router."""

from collections.abc import AsyncGenerator

from fastapi import FastAPI
from fastcrud import crud_router
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.shop import ItemCreate, ItemRead, ItemUpdate, PlainItem

__all__ = ["fastcrud_application"]


def fastcrud_application(sessions: async_sessionmaker[AsyncSession]) -> FastAPI:
    """Return the application on those sessions."""

    async def get_session() -> AsyncGenerator[AsyncSession]:
        async with sessions() as session:
            yield session

    app = FastAPI()
    router = crud_router(
        session=get_session,
        model=PlainItem,
        create_schema=ItemCreate,
        update_schema=ItemUpdate,
        select_schema=ItemRead,
        path="/items",
    )
    app.include_router(router)
    return app
