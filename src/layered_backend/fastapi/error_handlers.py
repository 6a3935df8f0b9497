"""From the library's errors to HTTP: the only place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NoReturn

from fastapi import FastAPI, Request
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from layered_backend import errors

__all__ = ["add_error_handlers", "status_of"]

_RETRY_AFTER = 1  # seconds
_TOO_LATE = ("DetachedInstanceError", "MissingGreenlet")

_STATUSES: Mapping[type[errors.LayeredError], int] = {
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
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(_RETRY_AFTER)},
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer the library's errors with their status and `{"detail": "one sentence"}`, all others with 500.

    `install` does this for the application itself. Handlers that *app* has already are kept.
    """
    app.exception_handlers.setdefault(errors.LayeredError, _answer)
    app.exception_handlers.setdefault(ResponseValidationError, _advise)
    app.exception_handlers.setdefault(Exception, _answer_unexpected)
    if app.exception_handlers.get(RequestValidationError) is request_validation_exception_handler:
        app.exception_handlers[RequestValidationError] = _answer_invalid


def status_of(error: errors.LayeredError) -> int:
    """Return the HTTP status that *error* is answered with."""
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


async def _answer(connection: HTTPConnection, error: errors.LayeredError) -> JSONResponse:
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR or connection.scope["type"] == "websocket":
        raise error  # to the handler of unexpected errors, and to the server's log
    return JSONResponse({"detail": _sentence(error, status)}, status, headers=_HEADERS.get(status))


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
        if each["type"] == "get_attribute_error" and str(each["ctx"]["error"]).startswith(_TOO_LATE):
            name = f"{type(each['input']).__name__}.{each['loc'][-1]}"
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
