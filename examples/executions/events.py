"""What is told of executions as they go on."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import UUID

from examples.executions.models import Execution
from examples.executions.schemas import ExecutionSummary
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend.query import Criterion

SHOWN = 20  # executions, the newest
LIMIT = 30  # seconds that a stream lasts; a browser opens the next one by itself


async def changes(uow: ExecutionsUnitOfWork, *where: Criterion) -> AsyncIterator[ExecutionSummary]:
    """Yield the newest executions that meet the criteria, and each again whenever it has changed.

    Each look is a unit of work of its own, for the actor of *uow*, in its database: no connection is held in between. It
    ends when all that is asked for have ended, where that is some by criteria.
    """
    told: dict[UUID, ExecutionSummary] = {}
    end = monotonic() + LIMIT
    while monotonic() < end:
        async with ExecutionsUnitOfWork(uow.database, actor=uow.actor, read_only=True) as look:
            newest = look.executions.project(ExecutionSummary)
            found = await newest.list(*where, order_by=Execution.created_at.desc(), limit=SHOWN)
        for execution in reversed(found):
            if told.get(execution.id) != execution:
                yield execution
        told = {execution.id: execution for execution in found}
        if where and all(execution.ended_at for execution in found):
            return
        await asyncio.sleep(0.25)  # seconds
