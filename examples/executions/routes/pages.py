"""The pages: a form to start an execution, and the executions as they go on."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

from examples.executions.events import SHOWN, changes
from examples.executions.models import Crew, Execution, Flow
from examples.executions.repositories import in_effect
from examples.executions.routes.executions_router import ExecutionsUOW, Service, Settings, start, writing
from examples.executions.routes.sessions import log_in
from examples.executions.schemas import ExecutionCreate, ExecutionSummary
from layered_backend import LayeredError, PermissionDeniedError, UnauthenticatedError, require_scopes
from layered_backend.security import AccessTokens

COOKIE = "session"
_FIELDS = {"kind": "plan", "plan_id": "plan", "name": "name", "text": "text"}
_MESSAGES = {
    "plan": "choose a crew or a flow",
    "text": "write 1 to 10,000 characters",
    "name": "use letters and digits, blanks, dots, dashes and underscores, and begin with a letter or a digit",
}

templates = Jinja2Templates(Path(__file__).parent.parent / "templates")
router = APIRouter(include_in_schema=False)


@router.get("/")
async def show_executions(request: Request, uow: ExecutionsUOW) -> Response:
    """Show the form and the newest executions, or lead to the login."""
    return RedirectResponse("/session", 303) if uow.actor is None else await _page(request, uow)


@router.post("/", dependencies=writing)
async def start_execution(
    request: Request, uow: ExecutionsUOW, service: Service, settings: Settings, tasks: BackgroundTasks
) -> Response:
    """Start what the form says, or show it again with what is wrong."""
    given = {name: str(value) for name, value in (await request.form()).items()}
    kind, _, plan_id = given.get("plan", "").partition(":")
    entered = {"kind": kind, "plan_id": plan_id, "text": given.get("text"), "name": given.get("name") or None}
    try:
        await start(ExecutionCreate.model_validate(entered), service, settings, tasks)
    except ValidationError as error:
        fields = {_FIELDS[str(each["loc"][0])] for each in error.errors()}
        return await _page(request, uow, given, {field: _MESSAGES[field] for field in fields})
    except LayeredError as error:
        return await _page(request, uow, given, {"plan": str(error)})
    return RedirectResponse("/", 303)


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(require_scopes("executions:read"))])
async def follow_executions(uow: ExecutionsUOW) -> AsyncIterator[ServerSentEvent]:
    """Tell of each change of the newest executions, as HTML."""
    row = templates.get_template("execution.html")
    async for execution in changes(uow):
        yield ServerSentEvent(data={"id": str(execution.id), "html": row.render(execution=execution)})


@router.get("/session")
async def show_login(request: Request) -> Response:
    """Show the form to log in with."""
    return templates.TemplateResponse(request, "login.html")


def sessions_router(tokens: AccessTokens) -> APIRouter:
    """Return the routes that begin and end a session, which is a cookie with a token."""
    sessions = APIRouter(include_in_schema=False, prefix="/session")

    @sessions.post("")
    async def begin(
        request: Request, username: Annotated[str, Form()], password: Annotated[str, Form()], uow: ExecutionsUOW
    ) -> Response:
        try:
            token = await log_in(uow, tokens, username, password)
        except UnauthenticatedError as error:
            context = {"error": str(error), "username": username}
            return templates.TemplateResponse(request, "login.html", context, 401)
        response, is_secure = RedirectResponse("/", 303), request.url.scheme == "https"
        response.set_cookie(COOKIE, token, tokens.lifetime, httponly=True, samesite="strict", secure=is_secure)
        return response

    @sessions.post("/end")
    async def end() -> Response:
        response = RedirectResponse("/session", 303)
        response.delete_cookie(COOKIE)
        return response

    return sessions


async def _page(
    request: Request,
    uow: ExecutionsUOW,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    missing = uow.actor.lacks(["executions:read", "catalogue:read"])
    if missing:
        raise PermissionDeniedError(f"the page takes the scope {' '.join(missing)}")
    newest = uow.executions.project(ExecutionSummary)
    context = {
        "crews": await uow.crews.list(in_effect(Crew), order_by=Crew.name),
        "flows": await uow.flows.list(in_effect(Flow), order_by=Flow.name),
        "executions": await newest.list(order_by=Execution.created_at.desc(), limit=SHOWN),
        "principal": uow.actor,
        "given": given or {},
        "errors": errors or {},
    }
    return templates.TemplateResponse(request, "index.html", context, 422 if errors else 200)
