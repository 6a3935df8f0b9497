"""The application with advanced-alchemy, as the page of its documentation on FastAPI has it."""

from typing import Annotated, Any

from advanced_alchemy.extensions.fastapi import AdvancedAlchemy, AsyncSessionConfig, SQLAlchemyAsyncConfig
from advanced_alchemy.filters import LimitOffset
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.peers.advanced_alchemy import ItemService
from benchmarks.shop import ItemCreate, ItemRead

__all__ = ["advanced_alchemy_application"]


def advanced_alchemy_application(engine: AsyncEngine) -> FastAPI:
    """Return the application on *engine*."""
    config = SQLAlchemyAsyncConfig(
        engine_instance=engine,
        session_config=AsyncSessionConfig(expire_on_commit=False),
        commit_mode="autocommit",
    )
    app = FastAPI()
    alchemy = AdvancedAlchemy(config=config, app=app)
    Items = Annotated[ItemService, Depends(alchemy.provide_service(ItemService))]  # noqa: N806  # a type

    @app.get("/items/{item_id}", response_model=ItemRead)
    async def read_item(item_id: int, items: Items) -> Any:
        return items.to_schema(await items.get(item_id), schema_type=ItemRead)

    @app.get("/items", response_model=list[ItemRead])
    async def read_items(items: Items, offset: int = 0, limit: int = 50) -> Any:
        found = await items.get_many(LimitOffset(limit=limit, offset=offset), order_by=("id", False))
        return items.to_schema(found, schema_type=ItemRead).items

    @app.post("/items", response_model=ItemRead, status_code=201)
    async def create_item(data: ItemCreate, items: Items) -> Any:
        return items.to_schema(await items.create(data), schema_type=ItemRead)

    @app.get("/nothing")
    async def nothing(items: Items) -> dict[str, bool]:
        return {"done": True}

    return app
