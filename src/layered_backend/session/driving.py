"""Running coroutines without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from layered_backend.errors import UnitOfWorkError

__all__ = ["drive"]

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end without an event loop: over a plain `Engine` it never suspends.

    Raises:
        UnitOfWorkError: It awaits something other than the database.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    except RuntimeError as error:
        if str(error) != "no running event loop":
            raise
    coroutine.close()
    name = getattr(coroutine, "__qualname__", "the coroutine")
    raise UnitOfWorkError(
        f"{name} awaits something other than the database (a sleep, a request, a lock), "
        "which needs an event loop; write `async with` for the unit of work"
    )
