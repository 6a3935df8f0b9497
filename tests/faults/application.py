"""The application that the servers of these tests serve, on the database that LAYERED_TEST_URL names."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI

from layered_backend import get_service
from layered_backend.fastapi import install
from tests.databases import database_at
from tests.shop import Item, ItemCreate, ItemRead, ItemService, ShopUnitOfWork

__all__ = ["app", "database"]

ItemServiceDep = Annotated[ItemService, Depends(get_service(ItemService))]
router = APIRouter()


@router.post("/items", status_code=201, response_model=ItemRead)
async def create_item(data: ItemCreate, service: ItemServiceDep) -> Item:
    return await service.create(data)


@router.get("/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, service: ItemServiceDep) -> Item:
    return await service.get(item_id)


@router.get("/checked-out")
async def checked_out() -> int:
    """Return how many connections are not in the pool."""
    pool: Any = database.engine.sync_engine.pool
    return int(pool.checkedout())


_pool_size = int(os.environ.get("LAYERED_TEST_POOL_SIZE", "2"))
database = database_at(os.environ["LAYERED_TEST_URL"], pool_size=_pool_size, max_overflow=0)
app = FastAPI()
install(app, ShopUnitOfWork, database=database)
app.include_router(router)
