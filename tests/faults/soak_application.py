"""The application that the soak asks: each write is two rows, so that half a write can be seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

from fastapi import APIRouter, BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

from layered_backend import NotFoundError, UnitOfWork, UOWDep
from layered_backend.fastapi import install
from tests.databases import database_at
from tests.shop import Document, Item, ShopUnitOfWork, add_item

__all__ = ["app"]

router = APIRouter(prefix="/pairs")


async def _write_pair(uow: UnitOfWork, key: str) -> None:
    assert isinstance(uow, ShopUnitOfWork)
    await add_item(uow, key)
    await uow.documents.create({"title": key})


async def _write_pair_in_the_background(key: str) -> None:
    async with ShopUnitOfWork(database) as uow:
        await _write_pair(uow, key)


@router.post("/{key}", status_code=201)
async def write(key: str, uow: UOWDep) -> None:
    await _write_pair(uow, key)


@router.post("/{key}/refused", status_code=201)
async def write_and_refuse(key: str, uow: UOWDep) -> None:
    await _write_pair(uow, key)
    raise NotFoundError("Supplier")


@router.post("/{key}/background", status_code=201)
async def write_and_go_on(key: str, uow: UOWDep, background_tasks: BackgroundTasks) -> None:
    await _write_pair(uow, key)
    background_tasks.add_task(_write_pair_in_the_background, f"{key}-background")


@router.post("/{key}/cancelled")
async def write_and_cancel(key: str, microseconds: int) -> str:
    """Cancel the write after a moment, and return what became of it."""
    uow = ShopUnitOfWork(database)

    async def write() -> None:
        async with uow:
            await _write_pair(uow, key)

    task = asyncio.create_task(write())
    await asyncio.sleep(microseconds / 1_000_000)
    task.cancel()
    await asyncio.wait({task})
    return uow.outcome


@router.get("/{key}")
async def read(key: str, uow: UOWDep) -> bool:
    assert isinstance(uow, ShopUnitOfWork)
    return await uow.items.exists(Item.name == key) and await uow.documents.exists(Document.title == key)


@router.get("")
async def stream() -> StreamingResponse:
    async def names() -> AsyncGenerator[str]:
        async with ShopUnitOfWork(database, read_only=True) as uow:
            for item in await uow.items.list(limit=50):
                yield f"{item.name}\n"
                await asyncio.sleep(0)

    return StreamingResponse(names())


@router.get("-checked-out")
async def checked_out() -> int:
    """Return how many connections are not in the pool."""
    pool = database.engine.sync_engine.pool
    return int(pool.checkedout())  # type: ignore[attr-defined]  # pyright: ignore


database = database_at(os.environ["LAYERED_TEST_URL"], pool_size=5, max_overflow=0)
app = FastAPI()
install(app, ShopUnitOfWork, database=database)
app.include_router(router)
