"""The application: the layers, put together."""

from functools import partial
from typing import get_args

from fastapi import Depends, FastAPI

from examples.executions import running, schemas
from examples.executions.routes import catalogue, executions_router, pages, sessions
from examples.executions.seeds import seeds
from examples.executions.settings import ExecutionsSettings
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Background, Database, current_principal, error_responses
from layered_backend import fastapi as layers

_ROUTERS = {
    "/executions": (executions_router.router, "executions:read"),
    "/tools": (catalogue.tools, "catalogue:read"),
    "/crews": (catalogue.crews, "catalogue:read"),
    "/flows": (catalogue.flows, "catalogue:read"),
    "/groups": (catalogue.groups, "groups:read"),
}


def create_app(settings: ExecutionsSettings, database: Database | None = None) -> FastAPI:
    """Return the application, in the database of the settings unless another one is given."""
    chosen, tokens = database or settings.database(), settings.access_tokens()
    scopes = dict.fromkeys(get_args(schemas.UserScope), "")
    principal = current_principal(tokens, token_url="login", scopes=scopes, cookie=sessions.COOKIE)  # noqa: S106  # a path
    background = Background(on_error=partial(running.end_failed, chosen), periodic={running.end_abandoned: 5})
    app = FastAPI(title="Executions")
    app.state.step_limit, app.state.tokens = settings.step_limit, tokens
    layers.install(app, ExecutionsUnitOfWork, database=chosen, seeds=seeds, principal=principal, background=background)
    for prefix, (router, scope) in _ROUTERS.items():
        needs, answers = [Depends(layers.require_scopes(scope))], error_responses(401, 403, 422, 503)
        app.include_router(router, prefix=prefix, tags=[prefix.strip("/")], dependencies=needs, responses=answers)
    for router in (sessions.router, pages.router, layers.health_router()):
        app.include_router(router)
    return app
