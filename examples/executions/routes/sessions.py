"""Logging in, for a token."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select

from examples.executions.models import Group, User
from examples.executions.routes.executions_router import ExecutionsUOW
from examples.executions.schemas import Token
from examples.executions.services import hasher
from layered_backend import UnauthenticatedError, error_responses
from layered_backend.security import AccessTokens


async def log_in(uow: ExecutionsUOW, tokens: AccessTokens, username: str, password: str) -> str:
    """Return a token for `group/name` and a password.

    Raises:
        UnauthenticatedError: There is nobody of that name, or the password is another.
    """
    group, _, name = username.partition("/")
    with uow.without("tenant"):
        of_group = User.group_id.in_(select(Group.id).where(Group.name == group))
        user = await uow.users.one_or_none(User.name == name, of_group)
        await uow.commit()  # a hash takes its time, and on SQLite others wait for this transaction
        check = await hasher.verify(password, user.password_hash if user else None)
        if user is None or not check:
            raise UnauthenticatedError("the name or the password is wrong")
        if check.new_hash is not None:
            await uow.users.update(user, {"password_hash": check.new_hash})
    return tokens.issue(str(user.id), scopes=user.scopes, claims={"group": str(user.group_id), "name": username})


def login_router(tokens: AccessTokens) -> APIRouter:
    """Return the route that gives tokens."""
    router = APIRouter(tags=["login"], responses=error_responses(400, 401))

    @router.post("/login")
    async def get_token(form: Annotated[OAuth2PasswordRequestForm, Depends()], uow: ExecutionsUOW) -> Token:
        """Return a token for a member, whose username is `group/name`."""
        token = await log_in(uow, tokens, form.username, form.password)
        return Token(access_token=token, expires_in=tokens.lifetime)

    return router
