"""Seeders of the test domain, and an application that seeds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI

from layered_backend import Database, Seeder, SeedRunner, health_router, install, ref
from layered_backend.fastapi import UOWDep
from tests.shop import Category, Item, ItemRepository, ShopUnitOfWork

__all__ = ["ROWS", "CategorySeeder", "ItemSeeder", "SlowSeeder", "application", "client", "count", "started"]

ROWS = 40
"""How many items are seeded."""


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[dict[str, Any]]:
        return [{"name": "drinks"}]


class ItemSeeder(Seeder[Item]):
    key = (Item.name,)
    depends_on = (CategorySeeder,)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"name": f"item {number}", "price": number, "category_id": ref(CategorySeeder, "drinks")}


class SlowSeeder(Seeder[Category]):
    """Stands still when the rows of the others are written, and one batch of its own, until it is told to go on."""

    key = (Category.name,)
    depends_on = (ItemSeeder,)
    is_standing: asyncio.Event
    goes_on: asyncio.Event

    async def rows(self) -> AsyncIterator[dict[str, Any]]:
        for number in range(1000):
            yield {"name": f"slow {number}"}
        self.is_standing.set()
        await self.goes_on.wait()
        yield {"name": "last"}

    @classmethod
    def prepare(cls) -> None:
        cls.is_standing, cls.goes_on = asyncio.Event(), asyncio.Event()


class BrokenSeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[dict[str, Any]]:
        return [{"name": "fine"}, {"nome": "broken"}]


def application(database: Database, *seeders: type[Seeder[Any]], **options: Any) -> FastAPI:
    """Return an application over *database* that seeds *seeders*, with routes that count what is there."""
    app = FastAPI()
    install(app, ShopUnitOfWork, database=database, seeds=SeedRunner(seeders), **options)
    app.include_router(health_router())

    @app.get("/items")
    async def count_items(uow: UOWDep) -> int:
        return await uow.repository(ItemRepository).count()

    return app


@asynccontextmanager
async def started(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    """Start *app* as a server does, in this event loop, and give a client for it; stop it at the end."""
    async with app.router.lifespan_context(app), client(app) as a_client:
        yield a_client


@asynccontextmanager
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as a_client:
        yield a_client


async def count(database: Database) -> tuple[int, int]:
    """Return how many categories and how many items are stored."""
    async with ShopUnitOfWork(database) as uow:
        return await uow.categories.count(), await uow.items.count()
