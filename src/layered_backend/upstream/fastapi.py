"""The undocumented parts of FastAPI."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from fastapi.security import OAuth2
from fastapi.security.base import SecurityBase
from starlette.requests import Request
from starlette.responses import Response

from layered_backend.upstream.verification import Package, Undocumented

__all__ = [
    "Dependency",
    "HandlerRun",
    "JSONContent",
    "Scheme",
    "is_scheme",
    "run_of",
    "verify_fastapi",
    "watch_handlers",
]

if TYPE_CHECKING:
    _Scheme = SecurityBase  # the other one returns the header's text
else:
    _Scheme = OAuth2

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]

_FASTAPI = Package("fastapi", "0.121.1 to 0.165")
_RUN = "layered_backend.handler_run"


def verify_fastapi() -> None:
    """Check what the guarantees rest on.

    Raises:
        UnsupportedVersionError: The installed FastAPI lacks a part of it.
    """
    _FASTAPI.require(Undocumented(APIRoute, "get_route_handler", ("self",)))


class Scheme(_Scheme):
    """A dependency that the OpenAPI document shows as a security scheme, by its `model` and its `scheme_name`.

    It derives from the undocumented `SecurityBase`, by which FastAPI knows such dependencies. The documented classes read
    the request in their own way. At run time it is an `OAuth2`, as FastAPI 0.121 shows the scopes of no other class.
    Without it the document would not say which routes need a token.
    """

    def __init__(self) -> None:
        """Leave out what FastAPI's class sets."""


def is_scheme(dependency: object) -> bool:
    """Tell whether *dependency* is a security scheme, of ours or of FastAPI's.

    It looks for the undocumented `SecurityBase`; the documented classes have no other base in common. Without it the
    document could not name the application's own scheme.
    """
    return isinstance(dependency, SecurityBase)


class JSONContent(dict[str, Any]):
    """The content of a documented answer that is JSON, of whatever media type the route's other answers are.

    It overrides `setdefault`, by which FastAPI adds the model of an answer under the media type of the route, such as
    `text/event-stream`. A documented `content` would need the schema of the model, in every route. Without it the document
    would give the errors of a stream, or of a page, the wrong media type.
    """

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        return super().setdefault("application/json", default)


@dataclass
class HandlerRun:
    """One call of a route's handler: its dependencies, its endpoint, and the making of its response.

    Attributes:
        has_failed: Whether it raised.
    """

    has_failed: bool = False


@functools.cache  # once in a process
def watch_handlers() -> None:
    """Have each request know how the handler of its route ended, for routes whose class wraps the handler.

    It replaces `APIRoute.get_route_handler`, which is documented to be overridden. A class that does so may answer an error
    itself; FastAPI then ends the dependencies as after a success, and nothing public tells them of the error. Without it,
    what a handler wrote before it raised would be committed.

    Routes of plain classes keep their handler as it is. A class that answers errors and does not get its handler from
    `super().get_route_handler()` is not seen through.
    """
    route_class: Any = APIRoute
    build = APIRoute.get_route_handler

    @functools.wraps(build)
    def get_route_handler(self: APIRoute) -> Handler:
        handle = build(self)
        return handle if type(self).get_route_handler is get_route_handler else _watched(handle)

    route_class.get_route_handler = get_route_handler


def _watched(handle: Handler) -> Handler:
    async def watched(request: Request) -> Response:
        run = run_of(request.scope)
        if run is None or run.has_failed:  # a class that tries again begins anew
            run = request.scope[_RUN] = HandlerRun()
        try:
            return await handle(request)
        except BaseException:
            run.has_failed = True
            raise

    return watched


def run_of(scope: MutableMapping[str, Any]) -> HandlerRun | None:
    """Return how far the handler of the request with that scope is; None where nothing can answer its errors."""
    run: HandlerRun | None = scope.get(_RUN)
    return run
