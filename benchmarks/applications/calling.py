"""Requests without a network, and without a client: one would cost more than the application."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

__all__ = ["Answer", "call"]


@dataclass(frozen=True)
class Answer:
    """What an application has sent."""

    status: int
    body: bytes


async def call(app: ASGIApp, method: str, target: str, body: bytes = b"") -> Answer:
    """Send one request, as a server that has read it whole would, and return the answer."""
    path, _, query = target.partition("?")
    headers = [(b"host", b"shop"), (b"accept", b"*/*")]
    if body:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    received = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    return Answer(start["status"], b"".join(part.get("body", b"") for part in parts))
