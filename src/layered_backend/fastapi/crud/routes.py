"""How each operation of a router stands in HTTP and in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from layered_backend.fastapi.error_bodies import error_responses

__all__ = ["OPERATIONS", "ROUTES", "Operation", "Route"]

Operation: TypeAlias = Literal["list", "get", "create", "replace", "update", "delete"]
"""The operations that `crud_router` can make a route for."""

OPERATIONS: tuple[Operation, ...] = get_args(Operation)

_TEXT: Mapping[str, Any] = {"type": "string"}
_LOCATION: Mapping[str, Any] = {"Location": {"description": "The path of the new row.", "schema": _TEXT}}
_ETAG: Mapping[str, Any] = {"ETag": {"description": "The version of the row.", "schema": _TEXT}}


@dataclass(frozen=True)
class Route:
    """How one operation stands in HTTP.

    Attributes:
        method: Of the request.
        status: Of the answer where all went well.
        errors: The statuses of the other answers.
        of_one: Whether its path has a key in it.
        takes: The schema of its body: `create`, `update` or none.
        headers: That its answer always has.
        has_tag: Whether its answer has an `ETag` where rows have versions.
        is_conditional: Whether it obeys `If-Match`.
    """

    method: str
    status: int
    errors: tuple[int, ...]
    of_one: bool = True
    takes: Literal["create", "update"] | None = None
    headers: Mapping[str, Any] | None = None
    has_tag: bool = False
    is_conditional: bool = False

    @property
    def only_reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    def responses(self, *, is_versioned: bool, is_required: bool) -> dict[int | str, dict[str, Any]]:
        """Return the answers for the OpenAPI document, beside the model of the first one."""
        is_checked = is_versioned and self.is_conditional
        errors = (*self.errors, *((412,) if is_checked else ()), *((428,) if is_checked and is_required else ()))
        responses = error_responses(*errors)
        headers = {**(self.headers or {}), **(_ETAG if is_versioned and self.has_tag else {})}
        if headers:
            responses[self.status] = {"headers": headers}
        if is_versioned and self.method == "GET" and self.of_one:
            responses[304] = {"description": "The client has this version.", "headers": dict(_ETAG)}
        return responses


ROUTES: Mapping[Operation, Route] = {
    "list": Route("GET", 200, (422, 503), of_one=False),
    "create": Route("POST", 201, (400, 409, 422, 503), of_one=False, takes="create", headers=_LOCATION, has_tag=True),
    "get": Route("GET", 200, (404, 422, 503), has_tag=True),
    "replace": Route("PUT", 200, (400, 404, 409, 422, 503), takes="create", has_tag=True, is_conditional=True),
    "update": Route("PATCH", 200, (400, 404, 409, 422, 503), takes="update", has_tag=True, is_conditional=True),
    "delete": Route("DELETE", 204, (404, 409, 422, 503), is_conditional=True),
}
