"""From the library's errors to HTTP: the only place that knows both."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, NoReturn

import sqlalchemy
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.orm import InstanceState
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from layered_backend import errors
from layered_backend.upstream.starlette import exception_handlers_of, has_method

__all__ = ["add_error_handlers", "status_of"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_RETRY_AFTER = 1  # seconds

_STATUSES: Mapping[type[object], int] = {
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.PreconditionFailedError: 412,
    errors.PreconditionRequiredError: 428,
    errors.InvalidDataError: 422,
    errors.PermissionDeniedError: 403,
    errors.UnauthenticatedError: 401,
    errors.TransientError: 503,
    errors.StatementTimeoutError: 503,
    errors.DatabaseUnavailableError: 503,
    errors.LayeredError: 500,
}
_POLICY = frozenset({401, 403})
_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1
_UNAVAILABLE: Mapping[str, str] = {"Retry-After": str(_RETRY_AFTER)}
_NOT_IN_A_HEADER = re.compile(r"[^ !#-\[\]-~]")


def add_error_handlers(app: FastAPI) -> None:
    """Answer the library's errors with their status and `{"detail": "one sentence"}`, all others with 500.

    A method that a path does not have is answered with all that it has in `Allow`. `install` does this for the application
    itself. Handlers that *app* has already are kept.
    """
    handlers = exception_handlers_of(app)
    handlers.setdefault(errors.LayeredError, _answer)
    handlers.setdefault(ResponseValidationError, _advise)
    handlers.setdefault(Exception, _answer_unexpected)
    _name_all_methods(handlers)
    if handlers.get(RequestValidationError) is request_validation_exception_handler:
        handlers[RequestValidationError] = _answer_invalid


def _name_all_methods(handlers: MutableMapping[Any, Callable[..., Any]]) -> None:
    """Have the answer to a method that a path lacks name all that it has, unless *handlers* has one for it.

    `Allow` must name them all (RFC 9110, section 15.5.6); Starlette names those of the first route of the path only.
    """

    async def answer(request: Request, error: HTTPException) -> Response:
        if "Allow" in (error.headers or {}):  # else it is not the router's
            allowed = ", ".join(method for method in _METHODS if has_method(request, method))
            error.headers = {**(error.headers or {}), "Allow": allowed}
        answered = handlers.get(HTTPException, http_exception_handler)(request, error)
        response: Response = await answered if inspect.isawaitable(answered) else answered
        return response

    handlers.setdefault(HTTPStatus.METHOD_NOT_ALLOWED.value, answer)


def status_of(error: errors.LayeredError) -> int:
    """Return the HTTP status that *error* is answered with."""
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


async def _answer(connection: HTTPConnection, error: errors.LayeredError) -> JSONResponse | None:
    status = status_of(error)
    if isinstance(connection, WebSocket) and status in _POLICY:
        await connection.close(_POLICY_VIOLATION, _sentence(error, status))
        return None
    if status == HTTPStatus.INTERNAL_SERVER_ERROR or connection.scope["type"] == "websocket":
        raise error  # to the handler of unexpected errors, and to the server's log
    return JSONResponse({"detail": _sentence(error, status)}, status, headers=_headers(error, status))


def _headers(error: errors.LayeredError, status: int) -> Mapping[str, str] | None:
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _UNAVAILABLE
    if isinstance(error, errors.UnauthenticatedError):
        return {"WWW-Authenticate": _challenge("invalid_token" if error.is_refused else None, error.scopes)}
    if isinstance(error, errors.PermissionDeniedError) and error.scopes:
        return {"WWW-Authenticate": _challenge("insufficient_scope", error.scopes)}
    return None


def _challenge(problem: str | None, scopes: Iterable[str]) -> str:
    """Return what the client has to show (RFC 6750, section 3)."""
    values = {"error": problem, "scope": _NOT_IN_A_HEADER.sub("", " ".join(scopes))}
    given = ", ".join(f'{name}="{value}"' for name, value in values.items() if value)
    return f"Bearer {given}".rstrip()


async def _answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Do what FastAPI does, also where it would repeat what no JSON can hold: NaN, Infinity, half a surrogate pair."""
    try:
        return await request_validation_exception_handler(request, error)
    except ValueError:
        faults = [{name: fault[name] for name in ("type", "loc", "msg")} for fault in error.errors()]
        return JSONResponse({"detail": faults}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _advise(connection: HTTPConnection, error: ResponseValidationError) -> NoReturn:
    """Add to the log what to do about an attribute that the response needs, and that was not loaded in time."""
    for each in error.errors():
        entity, attribute = each["input"], each["loc"][-1]
        state = sqlalchemy.inspect(entity, raiseerr=False)
        if each["type"] == "get_attribute_error" and isinstance(state, InstanceState) and attribute in state.unloaded:
            name = f"{type(entity).__name__}.{attribute}"
            error.add_note(
                f"{name} was not loaded before its unit of work ended: add options=[selectinload({name})] to the query, or, "
                "where it is a column, read the entity again after the rollback"
            )
    raise error


async def _answer_unexpected(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "Internal server error"}, 500)


def _sentence(error: errors.LayeredError, status: int) -> str:
    """Return what the client may know: never an identity that it did not send, nor anything of the database's state."""
    if isinstance(error, errors.NotFoundError):
        return f"{error.entity} not found"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "The service is not available at the moment; try again"
    sentence = str(error)
    return sentence[:1].upper() + sentence[1:]
