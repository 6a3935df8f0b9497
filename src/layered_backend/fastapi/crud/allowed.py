"""Answers to methods that a path does not have: `Allow` names all that it has (RFC 9110, section 15.5.6).

Starlette names those of the first route of the path only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

__all__ = ["route_class"]


def route_class(methods_of: Mapping[Callable[..., Any], Sequence[str]]) -> type[APIRoute]:
    """Return the class for the routes of one router.

    Args:
        methods_of: The methods of the path that an endpoint is at, its own among them.
    """

    class AllowingRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            methods = methods_of[self.endpoint]
            if scope["method"] not in methods:
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(methods)})
            await super().handle(scope, receive, send)

    return AllowingRoute
