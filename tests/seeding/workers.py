"""Processes that seed beside each other: `python -m tests.seeding.workers`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layered_backend import Database
from layered_backend.seeding import Seeder, SeedReport, SeedRunner, ref
from tests.faults.clients import work
from tests.seeding.catalogue import Badge, Category, Label, Node, Product

__all__ = ["ROWS"]

ROWS = 40
"""How many rows each of the seeders ships."""


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"name": f"c{number}"}


class ProductSeeder(Seeder[Product]):
    """Explicit ids, and references."""

    key = (Product.name,)
    depends_on = (CategorySeeder,)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"id": number + 10, "name": f"p{number}", "category_id": ref(CategorySeeder, f"c{number}")}


class LabelSeeder(Seeder[Label]):
    """No constraint, and NULL in the key."""

    key = (Label.scope, Label.text)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"scope": None if number % 2 else "s", "text": f"l{number}"}


class BadgeSeeder(Seeder[Badge]):
    """A constraint that does not keep the rows with NULL in their key."""

    key = (Badge.scope, Badge.text)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"scope": None if number % 2 else "s", "text": f"b{number}"}


class NodeSeeder(Seeder[Node]):
    """A tree without a constraint."""

    key = (Node.parent_id, Node.name)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS - 1):
            yield {"parent_id": ref(NodeSeeder, None, "root"), "name": f"n{number}"}
        yield {"parent_id": None, "name": "root"}


SEEDERS = (NodeSeeder, ProductSeeder, BadgeSeeder, LabelSeeder, CategorySeeder)


def _summary(report: SeedReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "inserted": sum(result.inserted for result in report.results),
        "unchanged": sum(result.unchanged for result in report.results),
        "errors": [str(result.error) for result in report.results if result.error],
    }


async def seed(url: str) -> dict[str, Any]:
    async with Database(url) as database:
        return _summary(await SeedRunner(SEEDERS, database=database).run())


async def seed_sync(url: str) -> dict[str, Any]:
    with Database(url) as database:
        return _summary(await asyncio.to_thread(SeedRunner(SEEDERS, database=database).run_sync))


async def seed_and_stop(url: str, marker: str) -> None:
    """Seed, and stand still when the rows of all but the last seeder are written: to be killed."""

    class StandingSeeder(Seeder[Label]):
        key = (Label.text,)
        depends_on = SEEDERS

        def rows(self) -> Iterator[dict[str, Any]]:
            Path(marker).touch()
            time.sleep(600)
            yield {}

    async with Database(url) as database:
        await SeedRunner((*SEEDERS, StandingSeeder), database=database).run()


if __name__ == "__main__":
    work(seed, seed_sync, seed_and_stop)
