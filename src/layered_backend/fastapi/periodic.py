"""What an application does again and again, beside its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context

from layered_backend.fastapi.background_jobs import BackgroundJob, BackgroundJobs
from layered_backend.fastapi.job_transaction import JobTransaction
from layered_backend.jobs import Work, name_of
from layered_backend.unit_of_work import UnitOfWork, begin_apart

__all__ = ["repeating"]

_ATTEMPTS = 5  # as those of `run_in_background`


@asynccontextmanager
async def repeating(jobs: BackgroundJobs, open_unit: Callable[[], UnitOfWork]) -> AsyncGenerator[None]:
    """Do what is periodic while the block lasts, at once and then after each pause; what is under way at its end is undone."""
    tasks = [
        asyncio.create_task(_repeat(jobs, open_unit, work, pause), name=name_of(work))
        for work, pause in jobs.periodic.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(jobs: BackgroundJobs, open_unit: Callable[[], UnitOfWork], work: Work, pause: float) -> None:
    begin_apart()
    while True:
        transaction = JobTransaction(open_unit, work, (), _ATTEMPTS)
        await jobs.run_now(BackgroundJob(name_of(work), (), copy_context(), transaction.run, transaction.fate))
        await asyncio.sleep(pause)
