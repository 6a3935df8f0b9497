"""The application that uvicorn serves in the tests: it seeds the database in SEEDED_DATABASE_URL."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from layered_backend import Database, Seeder
from tests.fastapi_seeding.seeders import CategorySeeder, ItemSeeder, application
from tests.shop import Category

logging.basicConfig(level=logging.INFO, format="process %(process)d %(message)s")


class StandingSeeder(Seeder[Category]):
    """Writes a batch of rows, makes the file SEEDED_MARKER and stands still."""

    key = (Category.name,)
    depends_on = (ItemSeeder,)

    async def rows(self) -> AsyncIterator[dict[str, Any]]:
        for number in range(1000):
            yield {"name": f"standing {number}"}
        await asyncio.to_thread(Path(os.environ["SEEDED_MARKER"]).touch)
        await asyncio.sleep(600)


seeders: tuple[type[Seeder[Any]], ...] = (
    ItemSeeder,
    CategorySeeder,
    *([StandingSeeder] if "SEEDED_MARKER" in os.environ else []),
)
app = application(Database(os.environ["SEEDED_DATABASE_URL"]), *seeders)
