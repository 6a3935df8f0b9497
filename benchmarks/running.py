"""A run: each operation checked, then measured, on each database."""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from benchmarks.bars import bars_of
from benchmarks.choice import Choice
from benchmarks.contenders import HAND
from benchmarks.databases import DATABASES
from benchmarks.measuring import Operation, checked_and_measured
from benchmarks.operations.bulk import bulk
from benchmarks.operations.far import far
from benchmarks.operations.http import http
from benchmarks.operations.memory import memory_rows
from benchmarks.operations.seeding import seeding
from benchmarks.operations.single import reading, writing
from benchmarks.results import DatabaseResults, Row, Run, cells_of, compared
from benchmarks.stage import Stage, stage_at

__all__ = ["run"]

_PACKAGES = (
    "sqlalchemy",
    "fastapi",
    "pydantic",
    "aiosqlite",
    "asyncpg",
    "advanced-alchemy",
    "fastcrud",
    "sqlakeyset",
    "fastapi-pagination",
)
_SHORT = (reading, writing, bulk, http)
_LONG = (seeding, far)


async def run(choice: Choice, show: Callable[[str, Row], None]) -> Run:
    """Measure what is chosen, and show each row as soon as it is measured.

    Raises:
        WrongResultError: A contender does something else than the hand-written operation.
        ServerMissingError: No server listens at the URL of a database.
    """
    databases: list[DatabaseResults] = []
    for name in choice.databases:
        async with DATABASES[name]() as url, stage_at(url) as stage:
            rows: list[Row] = []
            async for row in _rows(stage, choice):
                show(name, row)
                rows.append(row)
            databases.append(DatabaseResults(name=name, version=await stage.version(), rows=rows))
    packages = {package: version(package) for package in _PACKAGES}
    return Run(
        measured=datetime.now(UTC).date(),
        python=platform.python_version(),
        packages=packages,
        rounds=choice.rounds,
        databases=databases,
    )


async def _rows(stage: Stage, choice: Choice) -> AsyncGenerator[Row]:
    for operations in _SHORT if choice.is_quick else (*_SHORT, *_LONG):
        for operation in operations(stage):
            if choice.includes(operation.name):
                yield await _row(operation, stage.dialect, choice.rounds)
    if not choice.is_quick:
        async for row in memory_rows(stage, choice.includes):
            yield row


async def _row(operation: Operation, dialect: str, rounds: int) -> Row:
    times = await checked_and_measured(operation, rounds)
    return Row(
        section=operation.section,
        name=operation.name,
        measure=operation.measure,
        microseconds=round(median(times[HAND]) * 1e6, 1) if operation.baseline == HAND else None,
        cells=cells_of(compared(times, operation.baseline, operation.measure), bars_of(operation.name, dialect)),
    )
