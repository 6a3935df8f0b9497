from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from layered_backend import (
    Database,
    DeadlockError,
    LockTimeoutError,
    Outcome,
    SerializationFailureError,
    TransientError,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
    transact,
    transact_sync,
)
from layered_backend.unit_of_work import rerun
from tests.databases import Shop
from tests.shop import ShopUnitOfWork

Work = Callable[[ShopUnitOfWork], Awaitable[Any]]


async def _transact(shop: Shop, work: Work, **options: Any) -> Any:
    if shop.backend.asynchronous:
        return await transact(shop.unit, work, **options)
    return await asyncio.to_thread(partial(transact_sync, shop.unit, work, **options))


class Clock:
    """Time that passes only when someone waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TestReruns:
    async def test_the_result_of_the_work_is_returned(self, shop: Shop) -> None:
        item = await _transact(shop, lambda uow: uow.items.create({"name": "tea", "price": 1}))

        assert item.name == "tea"
        assert await shop.run(lambda uow: uow.items.count()) == 1

    @pytest.mark.parametrize("error", [SerializationFailureError, DeadlockError, LockTimeoutError])
    async def test_a_transient_error_is_tried_again_from_nothing(self, shop: Shop, error: type[TransientError]) -> None:
        units: list[ShopUnitOfWork] = []
        hooks: list[int] = []

        async def work(uow: ShopUnitOfWork) -> str:
            units.append(uow)
            attempt = len(units)
            uow.on_commit(lambda: hooks.append(attempt))
            await uow.items.create({"name": "tea", "price": attempt})
            if attempt < 3:
                raise error
            return "done"

        assert await _transact(shop, work) == "done"

        assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK, Outcome.ROLLED_BACK, Outcome.COMMITTED]
        assert hooks == [3]
        assert [item.price for item in await shop.run(lambda uow: uow.items.list())] == [3]

    async def test_any_other_error_is_not_tried_again(self, shop: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            await uow.items.create({"name": "tea", "price": 1})
            await uow.items.create({"name": "tea", "price": 1})

        with pytest.raises(UniqueViolationError):
            await _transact(shop, work)

        assert len(attempts) == 1

    async def test_the_last_error_is_raised_with_a_note(self, shop: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            raise DeadlockError

        with pytest.raises(DeadlockError) as caught:
            await _transact(shop, work, attempts=3)

        assert len(attempts) == 3
        assert caught.value.__notes__ == ["transact() gave up after 3 attempts"]

    def test_no_attempt_begins_after_the_deadline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(rerun, "time", clock)
        attempts: list[float] = []

        async def work(uow: UnitOfWork) -> None:
            attempts.append(clock.now)
            clock.now += 10
            raise DeadlockError

        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database, pytest.raises(DeadlockError):
            transact_sync(partial(UnitOfWork, database), work, attempts=1000, deadline=25)

        assert len(attempts) == 3, "each takes 10 seconds, and at most 2 are waited for after it"

    async def test_at_least_one_attempt_is_needed(self, sqlite_shop: Shop) -> None:
        with pytest.raises(ValueError, match="attempts is at least 1, not 0"):
            await _transact(sqlite_shop, lambda uow: uow.items.count(), attempts=0)


class TestRefusals:
    async def test_commit_inside_is_refused(self, shop: Shop) -> None:
        with pytest.raises(UnitOfWorkError, match=r"commit\(\) inside transact\(\)"):
            await _transact(shop, lambda uow: uow.commit())

    async def test_inside_an_open_unit_of_work_of_the_same_database_it_is_refused(self, async_shop: Shop) -> None:
        async with async_shop.unit():
            with pytest.raises(UnitOfWorkError, match="would wait for that one"):
                await _transact(async_shop, lambda uow: uow.items.count())

        assert await _transact(async_shop, lambda uow: uow.items.count()) == 0

    async def test_a_task_of_its_own_may_use_it_meanwhile(self, async_shop: Shop) -> None:
        async with async_shop.unit():
            count = await asyncio.create_task(_transact(async_shop, lambda uow: uow.items.count()))

        assert count == 0


async def test_concurrent_increments_lose_nothing(async_shop: Shop) -> None:
    await async_shop.run(lambda uow: uow.meters.create({"serial": 1, "reading": 0}))
    open_serializable = partial(async_shop.unit, isolation_level="SERIALIZABLE")

    async def increment(uow: ShopUnitOfWork) -> None:
        meter = await uow.meters.get(1)
        await uow.meters.update(meter, {"reading": meter.reading + 1})

    async def increment_often() -> None:
        for _ in range(5):
            await transact(open_serializable, increment, attempts=100)

    await asyncio.gather(*(increment_often() for _ in range(4)))

    assert (await async_shop.run(lambda uow: uow.meters.get(1))).reading == 20
