"""The page: a form to start an execution, and the executions as they go on."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from examples.executions import events, schemas
from examples.executions.models import Crew, Execution, Flow
from examples.executions.repositories import in_effect
from examples.executions.routes.executions_router import ExecutionsUOW, Service, start, writing
from examples.executions.routes.sessions import templates
from layered_backend import LayeredError, PermissionDeniedError, require_scopes

_MESSAGES = {
    "plan_id": "choose a crew or a flow",
    "text": "write 1 to 10,000 characters",
    "name": "use letters and digits, blanks, dots, dashes and underscores, and begin with a letter or a digit",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def show_executions(request: Request, uow: ExecutionsUOW) -> Response:
    """Show the form and the newest executions, or lead to the login."""
    return RedirectResponse("/session", 303) if uow.actor is None else await _page(request, uow, {}, {})


@router.post("/", dependencies=writing)
async def start_execution(request: Request, uow: ExecutionsUOW, service: Service, tasks: BackgroundTasks) -> Response:
    """Start what the form says, or show it again with what is wrong."""
    given = {name: str(value) for name, value in (await request.form()).items()}
    kind, _, plan_id = given.get("plan_id", "").partition(":")
    entered = {"kind": kind, "plan_id": plan_id, "text": given.get("text"), "name": given.get("name") or None}
    try:
        await start(schemas.ExecutionCreate.model_validate(entered), service, request, tasks)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors()}
        return await _page(request, uow, given, {name: _MESSAGES[name] for name in _MESSAGES if name in wrong})
    except LayeredError as error:
        return await _page(request, uow, given, {"plan_id": str(error)})
    return RedirectResponse("/", 303)


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(require_scopes("executions:read"))])
async def follow_executions(uow: ExecutionsUOW) -> AsyncIterator[ServerSentEvent]:
    """Tell of each change of the newest executions, as HTML."""
    row = templates.get_template("execution.html")
    async for execution in events.changes(uow):
        yield ServerSentEvent(data={"id": str(execution.id), "html": row.render(execution=execution)})


async def _page(request: Request, uow: ExecutionsUOW, given: Mapping[str, Any], errors: Mapping[str, str]) -> Response:
    missing = uow.actor.lacks(["executions:read", "catalogue:read"])
    if missing:
        raise PermissionDeniedError(f"the page takes the scope {' '.join(missing)}")
    newest = uow.executions.project(schemas.ExecutionSummary)
    context: dict[str, Any] = {
        "crews": await uow.crews.list(in_effect(Crew), order_by=Crew.name),
        "flows": await uow.flows.list(in_effect(Flow), order_by=Flow.name),
        "executions": await newest.list(order_by=Execution.created_at.desc(), limit=events.SHOWN),
        "principal": uow.actor,
        "given": given,
        "errors": errors,
    }
    return templates.TemplateResponse(request, "index.html", context, 422 if errors else 200)
