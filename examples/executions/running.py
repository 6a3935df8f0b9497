"""What runs in the background: executions, each in a unit of work of its own, and the end of those that nobody runs."""

import asyncio
from time import perf_counter
from uuid import UUID

from examples.executions.models import Status
from examples.executions.tools import use
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Database, FailedJob


async def run_execution(uow: ExecutionsUnitOfWork, execution_id: UUID, step_limit: float) -> None:
    """Run an execution that waits, step by step; what each has given is committed before the next one begins.

    Args:
        uow: What it may commit in between: it is not run again.
        execution_id: Of the execution.
        step_limit: Seconds that a step may take; one that is still at work then goes on in its thread, unheard.
    """
    if not await uow.executions.begin(execution_id, limit=2 * step_limit):
        return  # cancelled while it waited
    execution = await uow.executions.get(execution_id)
    outputs: dict[str, str] = {}
    for position, step in enumerate(execution.steps, start=1):
        await uow.commit()  # no transaction is open while a tool is at work
        begun = perf_counter()
        text = "\n".join(outputs[name] for name in step["after"]) if step["after"] else execution.text
        try:
            async with asyncio.timeout(step_limit):
                output = await asyncio.to_thread(use, step["function"], text, step["parameters"])
        except Exception as error:  # noqa: BLE001  # whatever a tool raises, its message is for whoever gave it the text
            reason = str(error) or f"it took more than {step_limit:g} seconds"  # a TimeoutError has no message
            await uow.executions.end(execution_id, Status.FAILED, error=f"{step['name']}: {reason}")
            return
        outputs[step["name"]] = output
        entry = {"execution_id": execution_id, "position": position, "step": step["name"], "tool": step["tool"]}
        await uow.logs.create(entry | {"output": output, "milliseconds": round((perf_counter() - begun) * 1000, 2)})
        if not await uow.executions.advance(execution_id, position, limit=2 * step_limit):
            return  # cancelled meanwhile
    await uow.executions.end(execution_id, Status.COMPLETED, result=outputs)


async def end_failed(database: Database, job: FailedJob) -> None:
    """End the execution of a job that came to nothing: the database was away, or the application stops."""
    async with ExecutionsUnitOfWork(database) as uow:
        with uow.without("tenant"):
            for execution_id in job.ids[:1]:
                await uow.executions.end(execution_id, Status.FAILED, error="The server could not go on with it")


async def end_abandoned(uow: ExecutionsUnitOfWork) -> None:
    """End executions whose process has died, whosever they are."""
    with uow.without("tenant"):
        await uow.executions.end_abandoned()
