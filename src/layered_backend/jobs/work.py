"""The work of a job: `async def work(uow, *ids)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstanceState, Session

from layered_backend.repository import BaseRepository
from layered_backend.service import BaseService
from layered_backend.unit_of_work import UnitOfWork, still_open, transact, transact_sync

__all__ = ["Work", "actor_here", "carry_out", "carry_out_sync", "check_call", "check_work", "name_of"]

UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)

Work: TypeAlias = Callable[..., Coroutine[Any, Any, object]]
"""An `async def` that takes a unit of work and then the ids."""

_OF_A_UNIT_OF_WORK: tuple[type, ...] = (UnitOfWork, AsyncSession, Session, BaseRepository, BaseService)
_COLLECTIONS = (list, tuple, set, frozenset)


def check_work(unit_of_work: object, work: Work) -> None:
    """Refuse what is no work in a unit of work.

    Raises:
        TypeError: *unit_of_work* is no class of units of work, or *work* is no `async def`.
    """
    if not (isinstance(unit_of_work, type) and issubclass(unit_of_work, UnitOfWork)):
        raise TypeError(f"a job is given the class of its unit of work, such as ShopUnitOfWork, not {unit_of_work!r}")
    if not inspect.iscoroutinefunction(work):
        raise TypeError(
            f"{name_of(work)} is not `async def`; write `async def work(uow, ...)`, and in it "
            "`await asyncio.to_thread(...)` around what blocks"
        )


def check_call(work: Work, ids: Collection[object], attempts: int) -> None:
    """Refuse what *work* could not be given later, while the caller is still there to see it.

    Raises:
        TypeError: It takes something else, or an id belongs to a unit of work, and will have ended with it.
        ValueError: *attempts* is less than 1.
    """
    if attempts < 1:
        raise ValueError(f"attempts is at least 1, not {attempts}")
    for each in ids:
        _refuse_what_ends(work, each)
    try:
        inspect.signature(work).bind(None, *ids)
    except TypeError as error:
        raise TypeError(f"{name_of(work)} is given a unit of work and {len(ids)} ids: {error}") from error


def _refuse_what_ends(work: Work, value: object) -> None:
    for each in cast("Iterable[Any]", value if isinstance(value, _COLLECTIONS) else (value,)):
        if isinstance(each, _OF_A_UNIT_OF_WORK):
            raise TypeError(
                f"{name_of(work)} is given a {type(each).__name__} that will have ended; it gets a unit of work of its own"
            )
        if isinstance(sqlalchemy.inspect(each, raiseerr=False), InstanceState):
            raise TypeError(
                f"{name_of(work)} is given an entity, {type(each).__name__}, that belongs to another transaction, and "
                "will be out of date; pass its key, and read it in the job"
            )


def name_of(function: object) -> str:
    """Return the name of *function* for people and for queues: `shop.orders:send_receipt`."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{function.__module__}:{name}"


def actor_here() -> object:
    """Return the actor of the units of work that are open here, or None."""
    return next((unit.actor for unit in still_open() if unit.actor is not None), None)


async def carry_out(
    open_unit: Callable[[], UnitOfWorkT], work: Callable[[UnitOfWorkT], Coroutine[Any, Any, object]], attempts: int
) -> None:
    """Run *work* in a unit of work; where it has several *attempts*, again after a TransientError, as `transact` does."""
    if attempts > 1:
        await transact(open_unit, work, attempts=attempts)
        return
    async with open_unit() as uow:
        await work(uow)


def carry_out_sync(
    open_unit: Callable[[], UnitOfWorkT], work: Callable[[UnitOfWorkT], Coroutine[Any, Any, object]], attempts: int
) -> None:
    """Do what `carry_out` does, without an event loop."""
    if attempts > 1:
        transact_sync(open_unit, work, attempts=attempts)
        return
    with open_unit() as uow:
        uow.run(work(uow))
