"""The application: the layers, put together."""

from functools import partial

from fastapi import Depends, FastAPI

from examples.executions.routes import catalogue, executions_router, pages, sessions
from examples.executions.running import end_abandoned, end_failed
from examples.executions.seeds import seeds
from examples.executions.settings import ExecutionsSettings
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Background, Database, current_principal, error_responses
from layered_backend import fastapi as layers

SCOPES = {
    "executions:read": "See executions",
    "executions:write": "Start and cancel executions",
    "catalogue:read": "See tools, crews and flows",
    "catalogue:write": "Change tools, crews and flows",
    "groups:read": "See the group and its members",
    "groups:write": "Change the group's members",
}
"""What a member may do, by the word for it."""

_ROUTERS = {
    "/executions": (executions_router.router, "executions:read"),
    "/tools": (catalogue.tools, "catalogue:read"),
    "/crews": (catalogue.crews, "catalogue:read"),
    "/flows": (catalogue.flows, "catalogue:read"),
    "/groups/members": (catalogue.members, "groups:read"),
    "/groups": (catalogue.groups, "groups:read"),
}


def create_app(settings: ExecutionsSettings, database: Database | None = None) -> FastAPI:
    """Return the application, in the database of the settings unless another one is given."""
    chosen, tokens = database or settings.database(), settings.access_tokens()
    app = FastAPI(title="Executions")
    principal = current_principal(tokens, token_url="login", scopes=SCOPES, cookie=pages.COOKIE)  # noqa: S106  # a path
    background = Background(on_error=partial(end_failed, chosen), periodic={end_abandoned: 5})
    layers.install(app, ExecutionsUnitOfWork, database=chosen, seeds=seeds, principal=principal, background=background)
    app.state.settings = settings
    for prefix, (router, scope) in _ROUTERS.items():
        needs = [Depends(layers.require_scopes(scope))]
        answers = error_responses(401, 403, 422, 503)
        app.include_router(router, prefix=prefix, tags=[prefix.strip("/")], dependencies=needs, responses=answers)
    app.include_router(sessions.login_router(tokens), responses=error_responses(422, 503))
    app.include_router(pages.router)
    app.include_router(pages.sessions_router(tokens))
    app.include_router(layers.health_router())
    return app
