"""Answers to methods that a path does not have: `Allow` names all that it has (RFC 9110, section 15.5.6).

Starlette names those of the first route of the path only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from layered_backend.upstream.starlette import has_method

__all__ = ["name_all_methods"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def name_all_methods(handlers: MutableMapping[Any, Callable[..., Any]]) -> None:
    """Have the answer to a method that a path lacks name all that it has, unless *handlers* has one for it."""

    async def answer(request: Request, error: HTTPException) -> Response:
        if "Allow" in (error.headers or {}):  # else it is not the router's
            allowed = ", ".join(method for method in _METHODS if has_method(request, method))
            error.headers = {**(error.headers or {}), "Allow": allowed}
        answered = handlers.get(HTTPException, http_exception_handler)(request, error)
        response: Response = await answered if inspect.isawaitable(answered) else answered
        return response

    handlers.setdefault(HTTPStatus.METHOD_NOT_ALLOWED.value, answer)
