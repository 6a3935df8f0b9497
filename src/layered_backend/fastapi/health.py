"""Health routes for an orchestrator: does the process live, and is it ready for requests?"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from layered_backend.database import Database
from layered_backend.fastapi.auto_seeding import SeedingState
from layered_backend.fastapi.installation import installation_of

__all__ = ["Liveness", "Readiness", "health_router"]

_logger = logging.getLogger("layered_backend")

_TIME_LIMIT = 2.0  # seconds
_RETRY_AFTER = "1"  # second
_unanswered: set[asyncio.Task[None]] = set()


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether the application can serve: its database answers, and no rows that it seeds are missing.

    Attributes:
        status: Whether it can.
        database: Whether the database answers in time.
        seeding: How far seeding is; off where the application does not seed.
    """

    status: Literal["ready", "not ready"]
    database: Literal["up", "down"]
    seeding: SeedingState


def health_router(*, prefix: str = "/health", time_limit: float = _TIME_LIMIT) -> APIRouter:
    """Return the routes `/health/live` and `/health/ready` of an application that `install` was called for.

    The first answers 200 while the process can answer. The second asks the database; it answers 200 where that replies
    and seeding is off or done, else 503, both with a `Readiness`.

    Args:
        prefix: What the paths begin with.
        time_limit: Seconds that the database has for its reply, more than 0.

    Raises:
        ValueError: *time_limit* is 0 or less.
    """
    if time_limit <= 0:
        raise ValueError(f"time_limit is more than 0 seconds, not {time_limit}")
    router = APIRouter(prefix=prefix, tags=["health"])

    @router.get("/live")
    async def live() -> Liveness:
        """Tell that the process answers."""
        return Liveness()

    @router.get("/ready", responses={503: {"model": Readiness, "description": "Not ready"}})
    async def ready(request: Request, response: Response) -> Readiness:
        """Tell whether the application can serve requests."""
        installation = installation_of(request)
        readiness = _readiness(installation.seeding.state, is_up=await _answers(installation.database, time_limit))
        response.headers["Cache-Control"] = "no-store"
        if readiness.status != "ready":
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            response.headers["Retry-After"] = _RETRY_AFTER
        return readiness

    return router


def _readiness(seeding: SeedingState, *, is_up: bool) -> Readiness:
    is_ready = is_up and seeding in {SeedingState.OFF, SeedingState.DONE}
    return Readiness(status="ready" if is_ready else "not ready", database="up" if is_up else "down", seeding=seeding)


async def _answers(database: Database, time_limit: float) -> bool:
    """Tell whether *database* answers within *time_limit* seconds.

    The limit holds for the caller: a connection that is dead may not even let a cancellation end, so the question is
    cancelled and not waited for.
    """
    question = asyncio.create_task(database.ping(), name="health")
    _unanswered.add(question)
    question.add_done_callback(_forget)
    try:
        await asyncio.wait({question}, timeout=time_limit)
    finally:
        question.cancel()
    if not question.done():
        _logger.warning("the database has not answered for %g seconds", time_limit)
        return False
    return not question.cancelled() and question.exception() is None


def _forget(question: asyncio.Task[Any]) -> None:
    _unanswered.discard(question)
    error = None if question.cancelled() else question.exception()
    if error is not None:
        _logger.warning("the database does not answer: %s", error)
