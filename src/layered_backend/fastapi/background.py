"""Work that goes on after the response, in a unit of work of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from fastapi import FastAPI
from starlette.background import BackgroundTasks

from layered_backend.errors import UnitOfWorkError
from layered_backend.fastapi.background_jobs import ATTEMPTS, BackgroundJob, JobTransaction
from layered_backend.fastapi.installation import Installation, Serving, installed_in, serving
from layered_backend.jobs import Job, JobQueue, Work, actor_here, check_call, check_work, name_of
from layered_backend.unit_of_work import OpenUnit, UnitOfWork, still_open

__all__ = ["background_idle", "run_in_background"]

UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)
Ids = TypeVarTuple("Ids")


def run_in_background(
    background_tasks: BackgroundTasks | JobQueue,
    unit_of_work: type[UnitOfWorkT],
    work: Callable[[UnitOfWorkT, *Ids], Coroutine[Any, Any, object]],
    *ids: *Ids,
    attempts: int = ATTEMPTS,
) -> None:
    """Run *work* with *ids* in a unit of work of its own, once every unit of work that is open here has committed.

        @router.post("/orders")
        async def create_order(data: OrderCreate, service: OrderServiceDep, tasks: BackgroundTasks) -> OrderRead:
            order = await service.create(data)
            run_in_background(tasks, ShopUnitOfWork, send_receipt, order.id)
            return order

    Where one of them rolls back, *work* never runs. Where none is open, it begins as a task of FastAPI's does: after
    the response, unless the handler raises.

    It runs in a task of the application, which holds up neither the response nor others, with the request's id and
    actor. When the application stops it is waited for, and in the end undone (see `Background`). It runs at most once: a
    process that dies loses it. A `JobQueue` in place of *background_tasks* is given the job instead, at the same time.

    Args:
        background_tasks: The handler's, or a queue that another process works off.
        unit_of_work: The class of the unit of work that *work* gets.
        work: An `async def`. All of it is run again after a TransientError, so what it does outside of the database
            belongs into `uow.on_commit`.
        ids: What *work* gets beside it: keys, no entities. They stand in the log when it fails.
        attempts: How often *work* is run at most, from 1; with 1 it may commit in between.

    Raises:
        TypeError: *work* is not `async def` or does not take the ids, or an id is an entity or belongs to a unit of work.
        UnitOfWorkError: No application that `install` was called for is at work here.
        ValueError: *attempts* is less than 1.
    """
    check_work(unit_of_work, work)
    check_call(work, ids, attempts)
    if isinstance(background_tasks, BackgroundTasks):
        _begin_here(background_tasks, unit_of_work, work, ids, attempts)
    else:
        _hand_over(background_tasks, Job.of(unit_of_work, work, *ids, attempts=attempts), ids)


async def background_idle(app: FastAPI) -> None:
    """Wait until every background job of *app* has ended, those that they begin too; for tests.

    Raises:
        UnitOfWorkError: `install` was not called for it.
    """
    await installed_in(app).background.idle()


def _begin_here(
    tasks: BackgroundTasks, unit_of_work: type[UnitOfWork], work: Work, ids: tuple[Any, ...], attempts: int
) -> None:
    served = serving.get()
    if served is None:
        raise UnitOfWorkError(
            "no application that install() was called for is at work here; await the work itself, or give it to a queue"
        )
    transaction = JobTransaction(_opener(served.installation, unit_of_work), work, ids, attempts)
    job = BackgroundJob(name_of(work), ids, copy_context(), transaction.run, transaction.fate)
    start = partial(_start, served, job)
    if units := still_open():
        _after_commits(units, start)
    elif served.kind == "http":
        tasks.add_task(_awaited, start)
    else:
        start()


def _hand_over(queue: JobQueue, job: Job, ids: tuple[Any, ...]) -> None:
    served, units = serving.get(), still_open()
    if served is None:
        if not units:
            raise UnitOfWorkError("no unit of work is open here; write `await queue.enqueue(Job.of(...))`")
        _after_commits(units, partial(queue.enqueue, job))
        return
    handing_over = BackgroundJob(job.work, ids, copy_context(), partial(queue.enqueue, job), lambda: "not in the queue")
    if units:
        _after_commits(units, partial(served.installation.background.run_now, handing_over))
    else:
        _start(served, handing_over)


def _opener(installation: Installation, wanted: type[UnitOfWork]) -> Callable[[], UnitOfWork]:
    """Return what opens a unit of work for the actor of here, where the application works."""
    actor = actor_here()

    def open_unit() -> UnitOfWork:
        uow = installation.open(wanted)
        uow.actor = actor
        return uow

    return open_unit


def _after_commits(units: Collection[OpenUnit], begin: Callable[[], Awaitable[None] | None]) -> None:
    """Call *begin* when the last of *units* has committed; one that rolls back never says so."""
    pending = set(units)

    def committed(unit: OpenUnit) -> Awaitable[None] | None:
        pending.discard(unit)
        return None if pending else begin()

    for unit in units:
        unit.on_commit(partial(committed, unit))


def _start(served: Serving, job: BackgroundJob) -> None:
    """Start *job* in the application's event loop, from any thread."""
    jobs = served.installation.background
    if _running_loop() is served.loop:
        jobs.start(job)
    else:
        served.loop.call_soon_threadsafe(jobs.start, job)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _awaited(start: Callable[[], None]) -> None:
    """Do what *start* does; FastAPI would call a function that is not `async def` in a thread."""
    start()
