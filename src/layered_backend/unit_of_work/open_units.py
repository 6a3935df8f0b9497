"""Which units of work are open, here and in the tasks that were started from here."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from layered_backend.database import Database

if TYPE_CHECKING:
    from layered_backend.unit_of_work.unit_of_work import UnitOfWork

__all__ = [
    "begin_apart",
    "end_abandoned",
    "entered_here",
    "forget",
    "open_in_this_task",
    "opened_units",
    "remember",
    "still_open",
]

_entered: ContextVar[tuple[UnitOfWork, ...]] = ContextVar("entered", default=())
opened_units: ContextVar[set[UnitOfWork] | None] = ContextVar("opened_units", default=None)
"""Those that are open in this context and in the tasks that it has started, where somebody keeps such a set."""


def entered_here() -> tuple[UnitOfWork, ...]:
    """Return those that this context, or one that it was copied from, has entered and not left."""
    return _entered.get()


def still_open() -> tuple[UnitOfWork, ...]:
    """Return those of them that have not ended, whichever task has them open."""
    return tuple(unit for unit in entered_here() if not unit.is_finished)


def begin_apart() -> None:
    """Let what runs here from now on have no part in the units of work of where this context was copied."""
    _entered.set(())
    opened_units.set(None)


def open_in_this_task(database: Database) -> UnitOfWork | None:
    """Return a unit of work of *database* that the running task has open, if it has one."""
    return next((unit for unit in entered_here() if unit.database is database and unit.is_open_here()), None)


async def end_abandoned(units: Iterable[UnitOfWork]) -> None:
    """Roll back those of *units* that nobody will ever leave: a generator that is dropped is closed some time, or never."""
    for unit in tuple(units):
        await unit.end_if_abandoned()


def remember(unit: UnitOfWork) -> None:
    """Remember that *unit* is open."""
    _entered.set((*_entered.get(), unit))
    opened = opened_units.get()
    if opened is not None:
        opened.add(unit)


def forget(unit: UnitOfWork) -> None:
    """Forget *unit*, which has ended."""
    _entered.set(tuple(other for other in _entered.get() if other is not unit))
    opened = opened_units.get()
    if opened is not None:
        opened.discard(unit)
