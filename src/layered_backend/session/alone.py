"""Reading without a session: one connection, for one piece of work, and no transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.util.concurrency import greenlet_spawn

from layered_backend.session.savepoint_stack import SavepointStack
from layered_backend.session.translation import translated_session_error

__all__ = ["run_alone"]

T = TypeVar("T")


async def run_alone(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run *work* on a connection of *engine*, in one go: what it awaits is the driver's business."""
    spawn: Any = greenlet_spawn
    result: T = await spawn(_run, engine, work)
    return result


def _run(engine: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return work(connection)
    except Exception as error:
        translated = translated_session_error(error, SavepointStack(), engine.dialect.name)
        if translated is None:
            raise
        raise translated from error
