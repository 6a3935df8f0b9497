"""The operations behind the routes of a router."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from layered_backend.fastapi.crud.conditions import WriteCondition, has_tag, tag_of
from layered_backend.fastapi.crud.keys import KeyPath
from layered_backend.fastapi.crud.reading import Reading
from layered_backend.fastapi.service_classes import AnyService
from layered_backend.upstream.starlette import root_path_of

__all__ = ["Operations"]

_IN_PATHS = "/:@!$&'()*+,;=~"


class Operations:
    """The operations that a router has a route for. Lives as long as the router.

    Args:
        reading: How the router reads.
        keys: How keys stand in its paths.
        condition: What it asks of `If-Match`.
    """

    def __init__(self, reading: Reading, keys: KeyPath, condition: WriteCondition) -> None:
        self._reading = reading
        self._keys = keys
        self._condition = condition

    async def list(self, service: AnyService, query: Any) -> Any:
        """Return the page that was asked for."""
        return await self._reading.page(service, query)

    async def get(self, service: AnyService, key: Any, if_none_match: str | None, response: Response) -> Any:
        """Return what has that key, or 304 where the client has that version."""
        found, version = await self._reading.get(service, key)
        if version is None:
            return found
        tag = tag_of(version)
        if self._reading.is_told_by_version and has_tag(if_none_match, tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        response.headers["ETag"] = tag
        return found

    async def create(self, service: AnyService, data: BaseModel, request: Request, response: Response) -> Any:
        """Write a new row, and say where it is."""
        entity = await service.create(data)
        response.headers["Location"] = _path(request) + self._keys.path_of(entity)
        return await self._answer(service, entity, response)

    async def replace(
        self, service: AnyService, key: Any, data: BaseModel, if_match: str | None, response: Response
    ) -> Any:
        """Change the whole row: what was left out gets its default."""
        async with self._condition.holding(service, key, if_match):
            entity = await service.replace(key, data)
        return await self._answer(service, entity, response)

    async def update(
        self, service: AnyService, key: Any, data: BaseModel, if_match: str | None, response: Response
    ) -> Any:
        """Change what was given: what was left out stays, an explicit null is written."""
        async with self._condition.holding(service, key, if_match):
            entity = await service.update(key, data)
        return await self._answer(service, entity, response)

    async def delete(self, service: AnyService, key: Any, if_match: str | None) -> None:
        """Delete the row."""
        async with self._condition.holding(service, key, if_match):
            await service.delete(key)

    async def _answer(self, service: AnyService, entity: object, response: Response) -> object:
        version = self._reading.version_of(entity)
        if version is not None:
            response.headers["ETag"] = tag_of(version)
        return await self._reading.body_of(service, entity)


def _path(request: Request) -> str:
    """Return the path of the request as the client sees it, with the prefix that a proxy has taken off."""
    root = root_path_of(request)
    path = quote(request.scope["path"].rstrip("/"), safe=_IN_PATHS)
    return path if path == root or path.startswith(f"{root}/") else f"{root}{path}"
