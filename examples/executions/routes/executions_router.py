"""Executions over HTTP."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse

from examples.executions import events, repositories, running, schemas, services
from examples.executions.models import Execution, LogEntry, Status
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import CursorPage, CursorParams, FilterSet, Projection, Sorting, Where, error_responses
from layered_backend import fastapi as layers

ExecutionsUOW = Annotated[ExecutionsUnitOfWork, Depends(layers.uow_dependency(ExecutionsUnitOfWork))]
Service = Annotated[services.ExecutionService, Depends(layers.get_service(services.ExecutionService))]
get_summaries = layers.get_projection(repositories.ExecutionRepository, schemas.ExecutionSummary)

router = APIRouter(responses=error_responses(400, 404, 409))
writing = [Depends(layers.require_scopes("executions:write"))]


class ExecutionFilter(FilterSet):
    """Those of some statuses, of a kind, whose name contains a text."""

    status: Annotated[list[Status] | None, Where(Execution.status.in_)] = None
    kind: Annotated[schemas.Kind | None, Where(lambda kind: Execution.kind == kind)] = None
    name: Annotated[str | None, Where(Execution.name.icontains)] = None


class ExecutionSorting(Sorting):
    """The newest first, or as the client says."""

    keys = {"created_at": Execution.created_at, "name": Execution.name, "status": Execution.status}
    default = "-created_at"


class ExecutionQuery(ExecutionFilter, ExecutionSorting, CursorParams):
    """The parameters of the list of executions."""


async def start(data: schemas.ExecutionCreate, service: Service, request: Request, tasks: BackgroundTasks) -> Execution:
    """Write an execution, and have it run once that is saved."""
    execution, limit = await service.create(data), request.app.state.step_limit
    layers.run_in_background(tasks, ExecutionsUnitOfWork, running.run_execution, execution.id, limit, attempts=1)
    return execution


@router.post("", status_code=201, response_model=schemas.ExecutionRead, dependencies=writing)
async def create_execution(execution: Annotated[Execution, Depends(start)], response: Response) -> Execution:
    """Set a crew or a flow to work on a text, in the background."""
    response.headers["Location"] = f"/executions/{execution.id}"
    return execution


@router.get("")
async def list_executions(
    query: Annotated[ExecutionQuery, Query()],
    executions: Annotated[Projection[schemas.ExecutionSummary], Depends(get_summaries)],
) -> CursorPage[schemas.ExecutionSummary]:
    """List the group's executions, page by page."""
    return await executions.cursor_page(query)


@router.post("/generate-name", dependencies=writing)
async def generate_execution_name(data: schemas.NameRequest, service: Service) -> schemas.ExecutionName:
    """Say what an execution would be called."""
    return schemas.ExecutionName(name=await service.generate_name(data))


@router.get("/{execution_id:uuid}", response_model=schemas.ExecutionRead)
async def get_execution(execution_id: UUID, service: Service) -> Execution:
    """Show how far an execution is, and what it has given."""
    return await service.get(execution_id)


@router.post("/{execution_id:uuid}/cancel", response_model=schemas.ExecutionRead, dependencies=writing)
async def cancel_execution(execution_id: UUID, service: Service) -> Execution:
    """End an execution that waits or runs."""
    return await service.cancel(execution_id)


@router.get("/{execution_id:uuid}/logs", response_model=list[schemas.LogRead])
async def list_logs(execution_id: UUID, service: Service) -> Sequence[LogEntry]:
    """List what the steps have given."""
    return await service.logs(execution_id)


async def changes_of(execution_id: UUID, uow: ExecutionsUOW) -> AsyncIterator[schemas.ExecutionSummary]:
    """Return the changes of an execution, or raise NotFoundError, before the stream begins."""
    await uow.executions.get(execution_id)
    return events.changes(uow, Execution.id == execution_id)


Changes = Annotated[AsyncIterator[schemas.ExecutionSummary], Depends(changes_of)]


@router.get("/{execution_id:uuid}/events", response_class=EventSourceResponse)
async def follow_execution(found: Changes) -> AsyncIterator[schemas.ExecutionSummary]:
    """Tell of each change of an execution, until it has ended (server-sent events)."""
    async for execution in found:
        yield execution
