"""The undocumented parts of Starlette, which FastAPI is built on."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp

from layered_backend.upstream.verification import Package, Undocumented

__all__ = [
    "Lifespan",
    "endpoint_of",
    "exception_handlers_of",
    "has_method",
    "root_path_of",
    "verify_starlette",
    "wrap_application",
    "wrap_lifespan",
]

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]

_STARLETTE = Package("starlette", "0.49.3 to 1.10")


def verify_starlette() -> None:
    """Check that the functions of this module can work.

    Raises:
        UnsupportedVersionError: Starlette has changed.
    """
    _STARLETTE.require(
        Undocumented(Router(), "lifespan_context", ("app",)),
        Undocumented(Starlette, "build_middleware_stack", ("self",)),
        Undocumented(Starlette(), "exception_handlers"),
        Undocumented(BaseRoute, "matches", ("scope",)),
        Undocumented(Match, "FULL"),
    )


def wrap_lifespan(app: Starlette, wrap: Callable[[Lifespan], Lifespan]) -> None:
    """Replace the lifespan of *app*, which exists already, by what *wrap* makes of it.

    It assigns to `Router.lifespan_context`. The public `lifespan` is an argument of the application's constructor, and a
    router that is included later ends before the application's own lifespan. Without it no application could be installed
    into after it was made: nothing would close its connections, seed, or wait for its background jobs.
    """
    app.router.lifespan_context = wrap(app.router.lifespan_context)


def wrap_application(app: Starlette, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put what *wrap* returns around all of *app*, what answers unexpected errors included.

    It replaces `Starlette.build_middleware_stack` of the one application. The public `add_middleware` adds only inside of
    the answers to unexpected errors. Without it those would have no `X-Request-ID`.
    """
    build = app.build_middleware_stack
    vars(app)["build_middleware_stack"] = lambda: wrap(build())


def exception_handlers_of(app: Starlette) -> MutableMapping[Any, Callable[..., Any]]:
    """Return the handlers of *app*, by class of error or by status, to be changed.

    It reads `Starlette.exception_handlers`. The public `exception_handler` replaces a handler and does not tell whether
    there is one. Without it the application's own handlers would be lost.
    """
    handlers: Any = app.exception_handlers
    typed: MutableMapping[Any, Callable[..., Any]] = handlers
    return typed


def endpoint_of(connection: HTTPConnection) -> object:
    """Return the function behind the route of *connection*, or None.

    It reads `endpoint` in the scope, where routes leave it. Nothing public tells a dependency which route it works for.
    Without it a `def` route that must be `async def` would fail with a coroutine in place of a value.
    """
    return connection.scope.get("endpoint")


def root_path_of(request: Request) -> str:
    """Return the prefix that a proxy has taken off the path of *request*, for a mounted application too.

    It reads `app_root_path` in the scope, where a mount leaves what `root_path` was before. The public `base_url` holds
    the header `Host` too, in which a client may write anything. Without it the `Location` of a new row would be wrong in a
    mounted application behind a proxy.
    """
    root: str = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    return root


def has_method(request: Request, method: str) -> bool:
    """Tell whether a route of the application serves the path of *request* with *method*.

    It calls `BaseRoute.matches`. Nothing public finds a route by its path: those of an included router are not in
    `app.routes`. Without it a 405 would name the methods of one route in `Allow`, not those of the path.
    """
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
