"""Seeding when the application starts: before its first request, or beside them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Literal, cast, get_args

from layered_backend.database import Database
from layered_backend.errors import SeedError
from layered_backend.seeding import SeedReport, SeedRunner, SeedStatus

__all__ = ["AutoSeed", "AutoSeeding", "SeedingState"]

_logger = logging.getLogger("layered_backend")

AutoSeed = Literal["off", "wait", "background"]
"""When an application seeds: not at all, before its first request, or beside its requests."""

_MODES: tuple[str, ...] = get_args(AutoSeed)
_VARIABLE = "LAYERED_AUTO_SEED"


class SeedingState(StrEnum):
    """How far the seeding of an application is."""

    OFF = "off"
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class AutoSeeding:
    """The seeding of one application. Lives as long as the application, and seeds each time that it starts.

    Args:
        seeds: What to seed, if anything.
        database: Where, whichever database *seeds* names.
        mode: When; None for what LAYERED_AUTO_SEED says at the start, and off where it says nothing.
        strict: Whether a failure before the first request stops the start.

    Attributes:
        state: How far the seeding is.

    Raises:
        ValueError: The mode is not known, or there is nothing to seed.
    """

    def __init__(self, seeds: SeedRunner | None, database: Database, mode: AutoSeed | None, *, strict: bool) -> None:
        self._seeds = seeds
        self._database = database
        self._mode = None if mode is None else _checked(mode, "auto_seed")
        self._strict = strict
        has_work = self._mode not in {None, "off"}
        if has_work and seeds is None:
            raise ValueError(f"auto_seed={mode!r} has nothing to seed; write install(..., seeds=seeds)")
        self.state = SeedingState.PENDING if has_work else SeedingState.OFF

    @asynccontextmanager
    async def around(self) -> AsyncGenerator[None]:
        """Seed before the block, or while it runs; what has not been committed when the block ends is undone.

        Raises:
            SeedError: Seeding before the block failed, and strictly so.
            ValueError: LAYERED_AUTO_SEED says something that is not known.
        """
        mode = self._mode or self._mode_of_environment()
        self.state = SeedingState.OFF if mode == "off" else SeedingState.PENDING
        if mode == "background":
            async with _beside(self._seed_and_log()):
                yield
            return
        if mode == "wait":
            await (self._seed() if self._strict else self._seed_and_log())
        yield

    def _mode_of_environment(self) -> AutoSeed:
        """Return what the environment says; to an application that has nothing to seed it says nothing."""
        text = os.environ.get(_VARIABLE)
        return _checked(text, _VARIABLE) if text and self._seeds is not None else "off"

    async def _seed_and_log(self) -> None:
        try:
            await self._seed()
        except Exception:
            _logger.exception("seeding failed; the application goes on without the rows, and is not ready")

    async def _seed(self) -> None:
        assert self._seeds is not None
        try:
            report = await self._seeds.run(database=self._database)
            for result in report.results:
                _logger.info("seeding: %s", result)
            _raise_failure(report)
        except Exception:
            self.state = SeedingState.FAILED
            raise
        self.state = SeedingState.DONE


def _checked(text: str, source: str) -> AutoSeed:
    if text not in _MODES:
        raise ValueError(f"{source} is {text!r}; it must be one of {', '.join(_MODES)}")
    return cast("AutoSeed", text)


def _raise_failure(report: SeedReport) -> None:
    """Raise what *report* failed with, if it did, in one sentence with all that failed."""
    if report.error is not None:
        raise SeedError(f"seeding failed, and nothing was written: {report.error}") from report.error
    failed = [result for result in report.results if result.status is SeedStatus.FAILED]
    if failed:
        raise SeedError(f"seeding failed: {'; '.join(map(str, failed))}") from failed[0].error


@asynccontextmanager
async def _beside(coroutine: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run *coroutine* in a task while the block runs; cancel it at the end, and wait until it has cleaned up."""
    task = asyncio.create_task(coroutine, name="seeding")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
