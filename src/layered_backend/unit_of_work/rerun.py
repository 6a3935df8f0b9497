"""Running a unit of work again when the database undid it for a reason that passes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from layered_backend.errors import RolledBackError, TransientError, UnitOfWorkError
from layered_backend.session import drive
from layered_backend.unit_of_work.completion import Outcome
from layered_backend.unit_of_work.open_units import open_in_this_task
from layered_backend.unit_of_work.unit_of_work import UnitOfWork

__all__ = ["Backoff", "transact", "transact_sync"]

T = TypeVar("T")
UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)

_FIRST_DELAY = 0.02  # seconds
_LONGEST_DELAY = 2.0  # seconds


async def transact(
    unit_of_work: Callable[[], UnitOfWorkT],
    work: Callable[[UnitOfWorkT], Awaitable[T]],
    *,
    attempts: int = 5,
    deadline: float | None = None,
) -> T:
    """Run *work* in a unit of work, and all of it again, in a new one, when the database could not carry it out yet.

    Only a TransientError is tried again: a serialization failure, a deadlock, a lock timeout. Each time *work* begins
    from nothing, so it must have no effect outside the database but through `on_commit`.

    Args:
        unit_of_work: The class, or a function that makes one: `partial(ShopUnitOfWork, isolation_level="SERIALIZABLE")`.
        work: What to do, given the open unit of work; its result is returned.
        attempts: How often *work* is run at most, from 1.
        deadline: Seconds after which no new attempt begins; None for no limit.

    Raises:
        ValueError: *attempts* is less than 1.
        TransientError: The last attempt failed too.
        UnitOfWorkError: The running task has a unit of work of the same database open, which this one would wait for.
    """
    backoff = Backoff(attempts, deadline)
    while True:
        uow = _fresh(unit_of_work)
        try:
            async with uow:
                return await work(uow)
        except (TransientError, RolledBackError) as error:
            delay = backoff.delay_after(error, uow.outcome)
        await asyncio.sleep(delay)


def transact_sync(
    unit_of_work: Callable[[], UnitOfWorkT],
    work: Callable[[UnitOfWorkT], Awaitable[T]],
    *,
    attempts: int = 5,
    deadline: float | None = None,
) -> T:
    """Do what `transact` does, without an event loop; *work* is the same coroutine function."""
    backoff = Backoff(attempts, deadline)
    while True:
        uow = _fresh(unit_of_work)
        try:
            with uow:
                return drive(work(uow))
        except (TransientError, RolledBackError) as error:
            delay = backoff.delay_after(error, uow.outcome)
        time.sleep(delay)


def _fresh(unit_of_work: Callable[[], UnitOfWorkT]) -> UnitOfWorkT:
    uow = unit_of_work()
    if open_in_this_task(uow.database) is not None:
        raise UnitOfWorkError(
            "transact() inside an open unit of work of the same database would wait for that one; "
            "call it outside the block, or use the open one"
        )
    uow.is_rerun = True
    return uow


class Backoff:
    """How long to wait between attempts, and when to give up.

    Full jitter: a random part of a bound that doubles (Brooker, "Exponential Backoff And Jitter", AWS Architecture
    Blog, 2015).

    Args:
        attempts: How often the work is run at most, from 1.
        deadline: Seconds after which no new attempt begins; None for no limit.
        name: What gives up, for the note on the last error.
        passing: What is worth another attempt.
    """

    def __init__(
        self,
        attempts: int,
        deadline: float | None = None,
        *,
        name: str = "transact()",
        passing: tuple[type[Exception], ...] = (TransientError,),
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts is at least 1, not {attempts}")
        self._attempts = attempts
        self._deadline = None if deadline is None else time.monotonic() + deadline
        self._failed = 0
        self._name = name
        self._passing = passing

    def delay_after(self, error: Exception, outcome: Outcome) -> float:
        """Return the seconds to wait before the next attempt, or raise *error* where there is to be none."""
        if not self._passes(error) or outcome is not Outcome.ROLLED_BACK:
            raise error
        self._failed += 1
        bound = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(self._failed - 1, 10))
        delay = random.uniform(0, bound)  # noqa: S311  # no secret
        in_time = self._deadline is None or time.monotonic() + delay <= self._deadline
        if self._failed == self._attempts or not in_time:
            error.add_note(f"{self._name} gave up after {self._failed} attempts")
            raise error
        return delay

    def _passes(self, error: Exception) -> bool:
        """Tell whether *error* is for a reason that passes; the work may have caught it, and not let it out."""
        return isinstance(error, self._passing) or isinstance(error.__cause__, self._passing)
