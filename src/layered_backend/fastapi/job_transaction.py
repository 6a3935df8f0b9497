"""What a job of this process does: its work, in a unit of work of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from layered_backend.jobs import Work, carry_out
from layered_backend.unit_of_work import Outcome, UnitOfWork

__all__ = ["JobTransaction"]


class JobTransaction:
    """The work of one job. Lives as long as the job.

    Args:
        open_unit: Returns a new unit of work.
        work: What is done in it.
        ids: What the work gets beside it.
        attempts: How often it is run at most.
    """

    def __init__(self, open_unit: Callable[[], UnitOfWork], work: Work, ids: tuple[Any, ...], attempts: int) -> None:
        self._open_unit = open_unit
        self._work = work
        self._ids = ids
        self._attempts = attempts
        self._last: UnitOfWork | None = None

    async def run(self) -> None:
        """Do the work."""
        await carry_out(self._open, lambda uow: self._work(uow, *self._ids), self._attempts)

    def fate(self) -> str:
        """Return what became of the last unit of work."""
        return self._last.outcome if self._last else Outcome.ROLLED_BACK

    def _open(self) -> UnitOfWork:
        self._last = self._open_unit()
        return self._last
