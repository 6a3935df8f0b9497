"""The background jobs of an application: its own tasks, a few at a time, drained when it stops."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from layered_backend.jobs import Work, carry_out, check_call, check_work, name_of
from layered_backend.request_ids import request_id
from layered_backend.unit_of_work import Outcome, UnitOfWork, begin_apart

__all__ = ["ATTEMPTS", "Background", "BackgroundJob", "BackgroundJobs", "FailedJob", "JobTransaction", "repeating"]

_logger = logging.getLogger("layered_backend")

ATTEMPTS = 5
"""How often a job is run at most, unless the call says something else."""

_ROLLBACK_LIMIT = 5.0  # seconds, for what is cut off to undo its work


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A background job that came to nothing.

    Attributes:
        name: Of its function, such as `shop.orders:send_receipt`.
        ids: What it was given beside its unit of work.
        request_id: Of the request that caused it, or None.
        error: What it raised; a CancelledError where it was cut off when the application stopped.
    """

    name: str
    ids: tuple[Any, ...]
    request_id: str | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class Background:
    """How an application runs its background jobs.

    Attributes:
        concurrency: How many run at the same time, from 1; keep it below the number of pooled connections, which the
            requests need too.
        drain: For how many seconds the application waits for them when it stops, from 0. Less than what it is given
            itself: Docker kills after 10 seconds, Kubernetes after 30.
        on_error: What is told of each that has failed, after the log; a function or a coroutine function.
        periodic: What the application does again and again while it runs, and how many seconds after it has ended: each
            an `async def` that takes a unit of work, its own. Every process does it.

    Raises:
        TypeError: What is to be done again is no `async def` that takes a unit of work.
        ValueError: A number is too small.
    """

    concurrency: int = 4
    drain: float = 8.0
    on_error: Callable[[FailedJob], Awaitable[None] | None] | None = None
    periodic: Mapping[Callable[[Any], Coroutine[Any, Any, object]], float] = field(default_factory=dict[Any, float])

    def __post_init__(self) -> None:
        for work, pause in self.periodic.items():
            check_work(UnitOfWork, work)
            check_call(work, (), attempts=1)
            if pause <= 0:
                raise ValueError(f"{name_of(work)} is done again after more than 0 seconds, not {pause}")
        if self.concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {self.concurrency}")
        if self.drain < 0:
            raise ValueError(f"drain is a number of seconds from 0, not {self.drain}")


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """A job that waits or runs.

    Attributes:
        name: Of its function.
        ids: What it was given.
        context: What it runs in.
        run: What it does.
        fate: Tells what became of its work.
    """

    name: str
    ids: tuple[Any, ...]
    context: Context
    run: Callable[[], Coroutine[Any, Any, None]]
    fate: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.name}{self.ids!r}"

    def failed(self, error: BaseException) -> FailedJob:
        """Return what the application's hook is told."""
        return FailedJob(self.name, self.ids, self.context.get(request_id), error)


class JobTransaction:
    """The work of one job. Lives as long as the job.

    Args:
        open_unit: Returns a new unit of work.
        work: What is done in it.
        ids: What the work gets beside it.
        attempts: How often it is run at most.
    """

    def __init__(self, open_unit: Callable[[], UnitOfWork], work: Work, ids: tuple[Any, ...], attempts: int) -> None:
        self._open_unit = open_unit
        self._work = work
        self._ids = ids
        self._attempts = attempts
        self._last: UnitOfWork | None = None

    async def run(self) -> None:
        """Do the work."""
        await carry_out(self._open, lambda uow: self._work(uow, *self._ids), self._attempts)

    def fate(self) -> str:
        """Return what became of the last unit of work."""
        return self._last.outcome if self._last else Outcome.ROLLED_BACK

    def _open(self) -> UnitOfWork:
        self._last = self._open_unit()
        return self._last


class BackgroundJobs:
    """The jobs of one application. Lives as long as the application, and is drained each time that it stops."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._waiting: deque[BackgroundJob] = deque()
        self._running: dict[asyncio.Task[None], BackgroundJob] = {}

    @property
    def periodic(self) -> Mapping[Work, float]:
        """The periodic work, and how many seconds after its end it begins again."""
        return self._background.periodic

    def start(self, job: BackgroundJob) -> None:
        """Run *job* in a task of its own, as soon as it is its turn."""
        self._waiting.append(job)
        self._begin()

    async def idle(self) -> None:
        """Wait until every job has ended."""
        while self._running:
            await asyncio.wait(self._running)

    async def run_now(self, job: BackgroundJob) -> None:
        """Run *job* here, and wait for it; it fails as one in a task of its own does."""
        try:
            await job.run()
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody is told
            await self.report(job, error)

    async def report(self, job: BackgroundJob, error: BaseException) -> None:
        """Log that *job* has failed, and tell the application's hook."""
        _logger.error("the background job %s failed; its work is %s", job, job.fate(), exc_info=error)
        await self._tell(job.failed(error))

    @asynccontextmanager
    async def around(self) -> AsyncGenerator[None]:
        """Let jobs run beside the block; after it, wait for them, and cut off those that take too long."""
        try:
            yield
        finally:
            await self._drain()

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._background.concurrency:
            job = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._run(job), name=str(job), context=job.context)
            self._running[task] = job
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled():  # else the event loop is about to end
            self._begin()

    async def _run(self, job: BackgroundJob) -> None:
        begin_apart()
        try:
            await job.run()
        except asyncio.CancelledError as error:
            if not _is_being_cancelled():
                await self.report(job, error)
                return
            await self._report_cut_off(job, error)
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody is told
            await self.report(job, error)

    async def _report_cut_off(self, job: BackgroundJob, error: BaseException) -> None:
        if job.fate() == Outcome.COMMITTED:  # the cancellation came too late to undo anything
            return
        _logger.error("the application stopped before the background job %s had ended; its work is %s", job, job.fate())
        await self._tell(job.failed(error))

    async def _tell(self, failed: FailedJob) -> None:
        hook = self._background.on_error
        try:
            result = hook(failed) if hook else None
            if inspect.isawaitable(result):
                await result
        except Exception:
            _logger.exception("the hook %r for the failed background job %s failed", hook, failed.name)

    async def _drain(self) -> None:
        if self._running:
            number = len(self._running) + len(self._waiting)
            _logger.info("waiting for %d background jobs, for %g seconds at most", number, self._background.drain)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._background.drain):
                await self.idle()
        while (self._running or self._waiting) and await self._cut_off():
            pass  # what has been begun meanwhile is next

    async def _cut_off(self) -> bool:
        """Cancel what runs, and let nothing begin that waits; return whether all of it has ended."""
        waiting, self._waiting = self._waiting, deque()
        for task in self._running:
            task.cancel()
        for job in waiting:
            await self._report_cut_off(job, asyncio.CancelledError())
        return await _wait_for_end_of(self._running)


def _is_being_cancelled() -> bool:
    """Tell whether it is the running task that is cancelled, not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _wait_for_end_of(cancelled: Collection[asyncio.Task[None]]) -> bool:
    """Wait until the *cancelled* tasks have undone their work; return whether all of them have, and log which have not."""
    left = (await asyncio.wait(cancelled, timeout=_ROLLBACK_LIMIT))[1] if cancelled else ()
    if left:
        names = ", ".join(task.get_name() for task in left)
        _logger.error("the application stops although these background jobs go on: %s", names)
    return not left


@asynccontextmanager
async def repeating(jobs: BackgroundJobs, open_unit: Callable[[], UnitOfWork]) -> AsyncGenerator[None]:
    """Repeat the periodic work of *jobs* while the block lasts, first at once. What is under way at its end is undone."""
    tasks = [
        asyncio.create_task(_repeat(jobs, open_unit, work, pause), name=name_of(work))
        for work, pause in jobs.periodic.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await _wait_for_end_of(tasks)


async def _repeat(jobs: BackgroundJobs, open_unit: Callable[[], UnitOfWork], work: Work, pause: float) -> None:
    begin_apart()
    while True:
        transaction = JobTransaction(open_unit, work, (), ATTEMPTS)
        await jobs.run_now(BackgroundJob(name_of(work), (), copy_context(), transaction.run, transaction.fate))
        if _is_being_cancelled():  # a driver has lost the cancellation, as `asyncio.wait_for` may before Python 3.12
            return
        await asyncio.sleep(pause)
