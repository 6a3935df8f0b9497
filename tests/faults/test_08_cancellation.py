"""Guarantee 8: whenever a task is cancelled, its unit of work is saved whole or not at all, and knows which."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from layered_backend import Outcome
from layered_backend.session import GuardedSession, GuardedSyncSession
from tests.databases import ASYNC_BACKENDS, Shop
from tests.faults.soundness import assert_sound
from tests.shop import ShopUnitOfWork, add_item

_ATTEMPTS = 200
_LEAST_IN_COMMIT = 5
_MOST_TICKS = 40


class _Attempt:
    """One unit of work that writes two items, and is cancelled somewhere on its way."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.names = [f"{number} first", f"{number} second"]
        self.is_in_bulk = number % 2 == 1
        self.uow = shop.unit()
        self.is_committing = asyncio.Event()
        self.hooks: list[str] = []
        self.session: GuardedSession | None = None

    async def run(self) -> None:
        async with self.uow as uow:
            self.session = uow.session
            uow.on_commit(lambda: self.hooks.append("ran"))
            if self.is_in_bulk:
                await uow.items.create_many({"name": name, "price": 1} for name in self.names)
            else:
                for name in self.names:
                    await add_item(uow, name)


Cancel = Callable[[asyncio.Task[None]], Awaitable[None]]


async def _once(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _twice(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()


@contextmanager
def _commits_told(attempts: dict[int, _Attempt], monkeypatch: pytest.MonkeyPatch) -> Generator[list[int]]:
    """Tell the attempt when its COMMIT begins, and collect which are under way."""
    under_way: list[int] = []
    end = GuardedSyncSession.end_transaction

    def told(session: Any, *, commit: bool) -> None:
        number = next((n for n, attempt in attempts.items() if _is_of(attempt, session)), None)
        if number is None or not commit:
            return end(session, commit=commit)
        under_way.append(number)
        attempts[number].is_committing.set()
        try:
            return end(session, commit=commit)
        finally:
            under_way.remove(number)

    with monkeypatch.context() as patch:
        patch.setattr(GuardedSyncSession, "end_transaction", told)
        yield under_way


def _is_of(attempt: _Attempt, session: object) -> bool:
    return attempt.session is not None and attempt.session.sync_session is session


async def _wait_for_the_moment(attempt: _Attempt, task: asyncio.Task[None], chance: random.Random) -> None:
    """Wait until somewhere in the work, or, every other time, until somewhere in its COMMIT."""
    if chance.random() < 0.5:
        committing = asyncio.create_task(attempt.is_committing.wait())
        await asyncio.wait({committing, task}, return_when=asyncio.FIRST_COMPLETED)
        committing.cancel()
        ticks = chance.randrange(4)
    else:
        ticks = chance.randrange(_MOST_TICKS)
    for _ in range(ticks):
        await asyncio.sleep(0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["once", "twice", "anyio scope"])
async def test_the_outcome_agrees_with_the_database_wherever_it_is_cancelled(
    async_shop: Shop, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(mode)  # noqa: S311  # no secret
    attempts: dict[int, _Attempt] = {}
    landed_in_commit = 0

    async def in_a_scope(attempt: _Attempt, scope: anyio.CancelScope) -> None:
        with scope:
            await attempt.run()

    with _commits_told(attempts, monkeypatch) as under_way:
        for number in range(_ATTEMPTS):
            attempt = attempts[number] = _Attempt(async_shop, number)
            scope = anyio.CancelScope()
            task = asyncio.create_task(in_a_scope(attempt, scope) if mode == "anyio scope" else attempt.run())
            await _wait_for_the_moment(attempt, task, chance)
            landed_in_commit += number in under_way
            if mode == "anyio scope":
                scope.cancel()
            else:
                await (_once if mode == "once" else _twice)(task)
            await asyncio.wait({task})
            attempts[number].is_committing.set()

    saved = set(await async_shop.names())
    for attempt in attempts.values():
        is_committed = attempt.uow.outcome is Outcome.COMMITTED
        assert attempt.uow.outcome is not Outcome.UNKNOWN
        assert (attempt.uow.outcome is Outcome.OPEN) == (attempt.session is None), "it was not even entered"
        assert [name in saved for name in attempt.names] == [is_committed, is_committed], "saved by halves"
        assert attempt.hooks == (["ran"] if is_committed else [])
    assert landed_in_commit >= _LEAST_IN_COMMIT
    assert {attempt.uow.outcome for attempt in attempts.values()} >= {Outcome.COMMITTED, Outcome.ROLLED_BACK}
    await assert_sound(async_shop)


async def test_a_cancellation_during_the_commit_comes_after_it(
    async_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = _Attempt(async_shop, 1)

    with _commits_told({1: attempt}, monkeypatch):
        task = asyncio.create_task(attempt.run())
        await attempt.is_committing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert attempt.uow.outcome is Outcome.COMMITTED
    assert attempt.hooks == ["ran"]
    assert await async_shop.names() == attempt.names


async def test_no_cancellation_is_lost_while_a_connection_is_opened(async_shop: Shop) -> None:
    """Before Python 3.12 `asyncio.wait_for` loses one that comes at the same moment as its result.

    asyncmy connects by it, and psycopg before 3.3.6 waited for each answer by it.
    """
    chance = random.Random(0)  # noqa: S311  # no secret
    landed = lost = 0

    async def open_one() -> None:
        async with async_shop.unit() as uow:
            await uow.items.count()

    await open_one()  # in which SQLAlchemy asks the server what it is
    await async_shop.database.engine.dispose()
    began = time.monotonic()
    await open_one()
    duration = time.monotonic() - began
    for _ in range(_ATTEMPTS):
        await async_shop.database.engine.dispose()
        task = asyncio.create_task(open_one())
        await asyncio.sleep(chance.random() * duration)
        is_cancelled = task.cancel()
        await asyncio.wait([task])
        landed += is_cancelled
        lost += is_cancelled and not task.cancelled()

    assert lost == 0
    assert landed > _ATTEMPTS // 4
    await assert_sound(async_shop)


async def test_a_task_that_cancels_itself_in_a_block_saves_nothing(async_shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await add_item(uow, "coffee")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(async_shop.run(work))

    assert await async_shop.names() == []
    await assert_sound(async_shop)


@pytest.mark.parametrize("async_shop", [ASYNC_BACKENDS[3]], indirect=True, ids=str)
@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_second_cancellation_does_not_keep_the_server_from_stopping_the_statement(
    async_shop: Shop, turns: int
) -> None:
    """asyncmy only closes the connection, and the server would go on and keep the locks of the transaction."""

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        await uow.session.execute(text("SELECT SLEEP(20)"))

    task = asyncio.create_task(async_shop.run(work))
    await asyncio.sleep(0.3)
    task.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    async with asyncio.timeout(2):  # MariaDB itself looks every 5 seconds whether the client is there
        await async_shop.run(lambda uow: add_item(uow, "tea"))
    await assert_sound(async_shop)
