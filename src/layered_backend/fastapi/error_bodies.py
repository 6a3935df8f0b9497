"""The answers to errors, as the OpenAPI document has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from layered_backend.upstream.fastapi import JSONContent

__all__ = ["ErrorBody", "RequestFault", "RequestFaults", "error_responses"]


class ErrorBody(BaseModel):
    """The body of the response to every error of the library."""

    detail: str = Field(description="One sentence.")


class RequestFault(BaseModel):
    """One fault in a request, as FastAPI reports it."""

    loc: list[str | int] = Field(description="Where it is: `query`, `path`, `header` or `body`, and what in it.")
    msg: str
    type: str


class RequestFaults(BaseModel):
    """The body of FastAPI's response to a request that does not fit its route."""

    detail: list[RequestFault]


_TEXT = {"type": "string"}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"description": "How to authenticate.", "schema": _TEXT}},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers with those statuses, for `responses=` of a route, a router or an application.

        @router.get("/{item_id}", responses=error_responses(404, 503))

    The body of each is `{"detail": "one sentence"}`; that of 422 may be FastAPI's list of faults too.

    Args:
        statuses: From 400 to 599.

    Raises:
        ValueError: One is no status of an error.
    """
    return {status: _response(_error(status)) for status in sorted({*statuses})}


def _error(status: int) -> HTTPStatus:
    known = HTTPStatus(status) if status in {*HTTPStatus} else None
    if known is None or known < HTTPStatus.BAD_REQUEST:
        raise ValueError(f"{status} is no status of an error; those are from 400 to 599")
    return known


def _response(status: HTTPStatus) -> dict[str, Any]:
    body: object = ErrorBody | RequestFaults if status == HTTPStatus.UNPROCESSABLE_ENTITY else ErrorBody
    response: dict[str, Any] = {"model": body, "description": status.phrase, "content": JSONContent()}
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
