"""An id for each request: taken from `X-Request-ID` or made, in the response, and in the log lines in between."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layered_backend.request_ids import SANE_REQUEST_ID, request_id
from layered_backend.upstream.starlette import wrap_application

__all__ = ["RequestIds", "add_request_ids"]

_HEADER = b"x-request-id"
_SCOPE_KEY = "layered_backend.request_id"
_WITH_HEADERS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


def add_request_ids(app: FastAPI) -> None:
    """Put `RequestIds` around all of *app*: around what answers unexpected errors too, where no middleware can be added."""
    wrap_application(app, RequestIds)


class RequestIds:
    """The ids of the requests of one application. Lives as long as the application.

    An id that a client sends is kept if it is sane, so that a request can be followed through several services. A
    mounted application goes on with the id of the one that it is mounted in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _SCOPE_KEY in scope:
            await self._app(scope, receive, send)
            return
        value = scope[_SCOPE_KEY] = _sent_id(scope) or secrets.token_hex(16)
        header = (_HEADER, value.encode("ascii"))

        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] in _WITH_HEADERS:
                others = [each for each in message.get("headers", ()) if each[0].lower() != _HEADER]
                message["headers"] = [*others, header]
            return send(message)

        token = request_id.set(value)
        await self._app(scope, receive, send_with_id)
        request_id.reset(token)  # not after an error, which the server logs when it arrives there


def _sent_id(scope: Scope) -> str | None:
    """Return the id that the client has sent, if it is one that may stand in a log."""
    for name, value in scope["headers"]:
        if name == _HEADER:
            text: str = value.decode("latin-1")
            return text if SANE_REQUEST_ID.fullmatch(text) else None
    return None
