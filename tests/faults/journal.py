"""What a server did, in order, to be asked for: each COMMIT, each response, and what its routes note."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter, FastAPI
from sqlalchemy import Connection, Engine, event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["journal", "keep_journal"]

_NOT_KEPT = frozenset({"/journal", "/checked-out", "/in-flight", "/gate"})  # they are the tests' own


@dataclass
class Journal:
    """The record of this process.

    Attributes:
        entries: What happened: `COMMIT`, `response 201`, and what a route noted.
        in_flight: How many requests are not at their end, which is after the last background task.
    """

    entries: list[str] = field(default_factory=list[str])
    in_flight: int = 0

    def note(self, entry: str) -> None:
        self.entries.append(entry)


journal = Journal()
router = APIRouter()


@router.get("/journal")
async def take_entries() -> list[str]:
    """Return the entries, and begin anew."""
    entries, journal.entries = journal.entries, []
    return entries


@router.get("/in-flight")
async def in_flight() -> int:
    return journal.in_flight


def keep_journal(app: FastAPI, engine: Engine) -> ASGIApp:
    """Return *app*, with a journal of what it answers and of what is committed through *engine*."""
    app.include_router(router)
    event.listen(engine, "commit", _note_commit)
    return _Journalled(app)  # around all of it: the answer to an unexpected error comes from its outermost layer


def _note_commit(connection: Connection) -> None:
    journal.note("COMMIT")  # it is about to be sent


class _Journalled:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _NOT_KEPT:
            await self._app(scope, receive, send)
            return

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                journal.note(f"response {message['status']}")
            await send(message)

        journal.in_flight += 1
        try:
            await self._app(scope, receive, send_noted)
        finally:
            journal.in_flight -= 1
