"""The greenlets in which SQLAlchemy awaits a driver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, Unpack

from sqlalchemy.util import concurrency

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["await_in_greenlet", "is_in_greenlet", "run_in_greenlet", "verify_concurrency"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def verify_concurrency() -> None:
    """Check that the functions of this module can work.

    Raises:
        UnsupportedVersionError: SQLAlchemy has changed.
    """
    SQLALCHEMY.require(
        Undocumented(concurrency, "await_only"),
        Undocumented(concurrency, "greenlet_spawn", ("fn",)),
        Undocumented(concurrency, "in_greenlet"),
    )


async def run_in_greenlet(function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Run *function*, in which the driver's coroutines are awaited.

    It uses `sqlalchemy.util.concurrency.greenlet_spawn`. The public `AsyncSession.run_sync` and
    `AsyncConnection.run_sync` need a session or an open connection. Without it each read outside of a transaction
    would take three steps through the event loop in place of one.
    """
    return await concurrency.greenlet_spawn(function, *args)


def is_in_greenlet() -> bool:
    """Tell whether the driver's coroutines are awaited here.

    It uses `sqlalchemy.util.concurrency.in_greenlet`. Nothing public tells it. Without it a lazy load would raise
    SQLAlchemy's MissingGreenlet in place of an error that names the attribute.
    """
    return concurrency.in_greenlet()


def await_in_greenlet(awaitable: Awaitable[T]) -> T:
    """Await *awaitable* in a function that `run_in_greenlet` runs.

    It uses `sqlalchemy.util.concurrency.await_only`. The public `AdaptedConnection.run_async` needs a connection.
    Without it no connection could be opened in a way of our own, and none could stop a statement of another on MariaDB.
    """
    return concurrency.await_only(awaitable)
