"""Rows that a test begins with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from layered_backend.database import Database
from layered_backend.seeding import Seeder, SeedReport, SeedRunner

__all__ = ["seed"]

SeederClass = type[Seeder[Any]]


async def seed(database: Database, *seeders: SeederClass, environment: str | None = None) -> SeedReport:
    """Run *seeders*, and what they depend on.

    Args:
        database: Where to seed.
        seeders: The classes.
        environment: As for `SeedRunner.run`.

    Raises:
        AssertionError: One failed; the message is the report, and the cause its error.
    """
    report = await SeedRunner(_with_dependencies(seeders), database=database).run(environment=environment)
    if not report.ok:
        raise AssertionError(f"the seeders failed:\n{report}")
    return report


def _with_dependencies(seeders: Iterable[SeederClass]) -> list[SeederClass]:
    found: dict[SeederClass, None] = {}
    missing = list(seeders)
    while missing:
        seeder = missing.pop()
        if seeder not in found:
            found[seeder] = None
            missing.extend(seeder.depends_on)
    return list(found)
