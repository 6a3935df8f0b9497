"""The principal of an application in its OpenAPI document."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from layered_backend.upstream.fastapi import Scheme, is_scheme

__all__ = ["StandInScheme", "describe"]

_described: ContextVar[object] = ContextVar("layered_backend.described")


class _AnyBearer(Scheme):
    """A token in the header, wherever it comes from: all that is known of a principal that the application has made."""

    def __init__(self) -> None:
        super().__init__()
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "Bearer"


_ANY_BEARER = _AnyBearer()


class StandInScheme(Scheme):
    """Stands for the principal of the application whose document is made: a route is written before it has one."""

    def __getattr__(self, name: str) -> Any:
        """Return what the document asks for: `model` and `scheme_name`."""
        principal = _described.get(None)
        return getattr(principal if is_scheme(principal) else _ANY_BEARER, name)


def describe(app: FastAPI, principal: object) -> None:
    """Have the documents of *app*, and of what is mounted in it, name *principal*."""
    documented: Any = app
    make = documented.openapi

    def openapi() -> dict[str, Any]:
        with _naming(principal):
            document: dict[str, Any] = make()
            return document

    documented.openapi = openapi  # for a script, which makes no request
    app.add_middleware(_DescribingMiddleware, principal=principal)


class _DescribingMiddleware:
    """Tells a mounted application, whose document is made while a request for it is served."""

    def __init__(self, app: ASGIApp, principal: object) -> None:
        self._app = app
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with _naming(self._principal):
            await self._app(scope, receive, send)


@contextmanager
def _naming(principal: object) -> Generator[None]:
    token = _described.set(principal)
    try:
        yield
    finally:
        _described.reset(token)
