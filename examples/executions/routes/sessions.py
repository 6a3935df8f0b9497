"""Logging in, for a token or for a cookie that holds one."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

from examples.executions import schemas, services
from examples.executions.models import Group, User
from examples.executions.routes.executions_router import ExecutionsUOW
from layered_backend import UnauthenticatedError, error_responses

COOKIE = "session"

router = APIRouter()
templates = Jinja2Templates(Path(__file__).parent.parent / "templates")
Credentials = Annotated[OAuth2PasswordRequestForm, Depends()]


@router.post("/login", tags=["login"], responses=error_responses(400, 401, 422, 503))
async def log_in(form: Credentials, request: Request, uow: ExecutionsUOW) -> schemas.Token:
    """Return a token for a member, whose username is `group/name`."""
    tokens = request.app.state.tokens
    group, _, name = form.username.partition("/")
    with uow.without("tenant"):
        of_group = User.group_id.in_(select(Group.id).where(Group.name == group))
        user = await uow.users.one_or_none(User.name == name, of_group)
        await uow.commit()  # a hash takes its time, and on SQLite others wait for this transaction
        check = await services.hasher.verify(form.password, user.password_hash if user else None)
        if user is None or not check:
            raise UnauthenticatedError("the name or the password is wrong")
        if check.new_hash is not None:
            await uow.users.update(user, {"password_hash": check.new_hash})
    token = tokens.issue(str(user.id), scopes=user.scopes, claims={"group": str(user.group_id), "name": form.username})
    return schemas.Token(access_token=token, expires_in=tokens.lifetime)


@router.get("/session", include_in_schema=False)
async def show_login(request: Request) -> Response:
    """Show the form to log in with."""
    return templates.TemplateResponse(request, "login.html")


@router.post("/session", include_in_schema=False)
async def begin_session(form: Credentials, request: Request, uow: ExecutionsUOW) -> Response:
    """Log in, or show the form again with what is wrong."""
    try:
        token = await log_in(form, request, uow)
    except UnauthenticatedError as error:
        context = {"error": str(error), "username": form.username}
        return templates.TemplateResponse(request, "login.html", context, 401)
    response, secure = RedirectResponse("/", 303), request.url.scheme == "https"
    response.set_cookie(COOKIE, token.access_token, token.expires_in, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/session/end", include_in_schema=False)
async def end_session() -> Response:
    """Log out."""
    response = RedirectResponse("/session", 303)
    response.delete_cookie(COOKIE)
    return response
