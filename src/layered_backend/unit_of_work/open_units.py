"""The units of work that are open, here and in the tasks that were started from here."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Protocol

from sqlalchemy import Connection

from layered_backend.database import Database
from layered_backend.session import Hook

__all__ = [
    "OpenUnit",
    "begin_apart",
    "end_abandoned",
    "entered_here",
    "forget",
    "open_in_this_task",
    "opened_units",
    "remember",
    "still_open",
]


class OpenUnit(Protocol):
    """A unit of work that somebody has entered, as its neighbours see it."""

    database: Database
    actor: Any

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is open in the database."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the block has ended."""
        ...

    def on_commit(self, hook: Hook) -> None:
        """Run *hook* after the commit."""
        ...

    def is_open_here(self) -> bool:
        """Tell whether the running task, or thread, opened it and has not left it."""
        ...

    def works_on(self, connection: Connection | None) -> bool:
        """Tell whether *connection* has its transaction."""
        ...

    async def end_if_abandoned(self) -> None:
        """Roll back, where nobody will ever leave the block."""
        ...


_entered: ContextVar[tuple[OpenUnit, ...]] = ContextVar("entered", default=())
opened_units: ContextVar[set[OpenUnit] | None] = ContextVar("opened_units", default=None)
"""Those that are open in this context and in the tasks that it has started, where somebody keeps such a set."""


def entered_here() -> tuple[OpenUnit, ...]:
    """Return those that this context, or one that it was copied from, has entered and not left."""
    return _entered.get()


def still_open() -> tuple[OpenUnit, ...]:
    """Return those of them that have not ended, whichever task has them open."""
    return tuple(unit for unit in entered_here() if not unit.is_finished)


def begin_apart() -> None:
    """Let what runs here from now on have no part in the units of work of where this context was copied."""
    _entered.set(())
    opened_units.set(None)


def open_in_this_task(database: Database) -> OpenUnit | None:
    """Return a unit of work of *database* that the running task has open, if it has one."""
    return next((unit for unit in entered_here() if unit.database is database and unit.is_open_here()), None)


async def end_abandoned(units: Iterable[OpenUnit]) -> None:
    """Roll back those of *units* that nobody will ever leave: a generator that is dropped is closed some time, or never."""
    for unit in tuple(units):
        await unit.end_if_abandoned()


def remember(unit: OpenUnit) -> None:
    """Remember that *unit* is open."""
    _entered.set((*_entered.get(), unit))
    opened = opened_units.get()
    if opened is not None:
        opened.add(unit)


def forget(unit: OpenUnit) -> None:
    """Forget *unit*, which has ended."""
    _entered.set(tuple(other for other in _entered.get() if other is not unit))
    opened = opened_units.get()
    if opened is not None:
        opened.discard(unit)
