"""What a transaction costs beside its statements: as little as makes no difference to anybody."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
import threading
import weakref
from collections.abc import Callable
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import NullPool, bindparam, event, insert, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from layered_backend import (
    Database,
    FinishedError,
    LockTimeoutError,
    NotNullViolationError,
    Outcome,
    RolledBackError,
    UnitOfWorkError,
)
from layered_backend.upstream.sqlalchemy.aiosqlite_adapter import SingleTripConnection
from tests.databases import Shop
from tests.reads import READS, Work, driver_of
from tests.shop import Item, ShopUnitOfWork, add_item


async def _nothing(uow: ShopUnitOfWork) -> None:
    """Enter the unit of work, and leave it."""


class TestMemory:
    @pytest.mark.parametrize("name", [*READS, "write", "nothing"])
    async def test_a_unit_of_work_leaves_nothing_to_the_garbage_collector(self, async_shop: Shop, name: str) -> None:
        numbers = itertools.count()
        others: dict[str, Work] = {"nothing": _nothing, "write": lambda uow: add_item(uow, f"tea {next(numbers)}")}
        work = {**READS, **others}[name]

        async def session_of_a_block() -> weakref.ref[Session]:
            async with async_shop.unit() as uow:
                await work(uow)
                return weakref.ref(uow.session.sync_session)

        gc.collect()
        gc.disable()
        try:
            session = await session_of_a_block()
            await asyncio.sleep(0)  # the task that has ended the transaction is let go of
            is_kept = session() is not None  # by asyncpg, in the context in which a connection or a statement was new
            gc.collect()
            assert (session() is not None) is is_kept
        finally:
            gc.enable()


class TestWhatOnlyReads:
    @pytest.mark.parametrize("ticks", range(6))
    async def test_has_ended_where_it_is_cancelled_as_its_connection_closes(self, async_shop: Shop, ticks: int) -> None:
        async with Database(async_shop.database.url, poolclass=NullPool) as database:
            uow, has_read = ShopUnitOfWork(database), asyncio.Event()

            async def work() -> None:
                async with uow:
                    await uow.items.count()
                    has_read.set()

            task = asyncio.create_task(work())
            await has_read.wait()
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        assert uow.outcome is Outcome.COMMITTED
        with pytest.raises(FinishedError):
            uow.session  # noqa: B018

    async def test_has_the_outcome_of_its_own_end(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            await uow.rollback()
            await uow.items.count()
        assert uow.outcome is Outcome.COMMITTED
        with pytest.raises(KeyError):
            async with async_shop.unit() as uow:
                await uow.commit()
                await uow.items.count()
                raise KeyError
        assert uow.outcome is Outcome.ROLLED_BACK

    @pytest.mark.parametrize("read", ["count", "list"])
    async def test_forgets_a_mistake_that_the_database_was_never_sent(self, async_shop: Shop, read: str) -> None:
        async with async_shop.unit() as uow:
            with pytest.raises(StatementError, match="a_value_is_missing"):
                await getattr(uow.items, read)(Item.id == bindparam("a_value_is_missing"))
            await add_item(uow, "tea")
        assert await async_shop.names() == ["tea"]

    async def test_lets_nobody_close_its_connection(self, async_shop: Shop) -> None:
        uow = async_shop.unit()
        with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
            async with uow:
                await uow.items.count()
                await (await uow.session.connection()).close()
        assert uow.outcome is Outcome.ROLLED_BACK

    async def test_commits_for_who_listens_to_the_engine(self, async_shop: Shop) -> None:
        heard: list[object] = []
        event.listen(async_shop.database.engine.sync_engine, "commit", heard.append)
        await async_shop.run(lambda uow: uow.items.count())
        assert len(heard) == 1


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Which functions aiosqlite's threads were awaited for."""
    made: list[object] = []
    kind: Any = aiosqlite.Connection
    execute = kind._execute

    async def counted(connection: aiosqlite.Connection, function: Any, *arguments: Any, **options: Any) -> Any:
        made.append(function)
        return await execute(connection, function, *arguments, **options)

    monkeypatch.setattr(kind, "_execute", counted)
    return made


class TestSQLite:
    @pytest.mark.parametrize("read", READS)
    async def test_a_unit_of_work_that_reads_is_one_trip(
        self, sqlite_shop: Shop, trips: list[object], read: str
    ) -> None:
        await sqlite_shop.run(lambda uow: uow.items.count())
        trips.clear()

        await sqlite_shop.run(READS[read])

        assert len(trips) == 1

    async def test_the_end_of_one_that_reads_is_left_to_the_thread_once(
        self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left: list[object] = []
        leave = SingleTripConnection.leave

        def counted(connection: SingleTripConnection, work: Callable[[sqlite3.Connection], object]) -> None:
            left.append(work)
            leave(connection, work)

        monkeypatch.setattr(SingleTripConnection, "leave", counted)
        for _ in range(20):
            await sqlite_shop.run(lambda uow: uow.items.count())
        assert len(left) == 20

    async def test_a_transaction_that_is_cut_off_behind_the_end_of_another_is_ended_too(
        self, sqlite_shop: Shop
    ) -> None:
        thread_goes_on = threading.Event()
        async with sqlite_shop.database.engine.connect() as connection:
            await connection.execute(select(Item.id))
            adapted: Any = (await connection.get_raw_connection()).dbapi_connection
            driver = adapted.driver_connection
            driver._tx.put_nowait((None, thread_goes_on.wait))
            await greenlet_spawn(adapted.rollback)

            adapted.begin(["BEGIN IMMEDIATE"])
            task = asyncio.ensure_future(greenlet_spawn(adapted.cursor().execute, "SELECT 1"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            await greenlet_spawn(adapted.rollback)

            thread_goes_on.set()
            await driver._execute(int)
            assert not driver.in_transaction

    async def test_one_that_writes_is_two(self, sqlite_shop: Shop, trips: list[object]) -> None:
        await sqlite_shop.run(lambda uow: uow.items.count())
        trips.clear()

        await sqlite_shop.run(lambda uow: add_item(uow, "tea"))

        assert len(trips) == 2
        assert await sqlite_shop.names() == ["tea"]

    async def test_the_transaction_of_reads_is_over_before_the_connection_does_anything_else(
        self, sqlite_shop: Shop
    ) -> None:
        for _ in range(50):
            await sqlite_shop.run(lambda uow: uow.items.count())
            await sqlite_shop.run(lambda uow: uow.items.list(), read_only=True)
        await sqlite_shop.run(lambda uow: add_item(uow, "tea"))

        with sqlite3.connect(str(sqlite_shop.database.url.database), timeout=5) as other:
            other.execute("DELETE FROM items")
        other.close()
        assert await sqlite_shop.names() == []

    async def test_a_lock_that_is_not_given_leaves_the_unit_of_work_as_it_was(self, sqlite_shop: Shop) -> None:
        path = str(sqlite_shop.database.url.database)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        async with sqlite_shop.unit() as uow:
            driver = await driver_of(uow)
            await driver._execute(driver._conn.execute, "PRAGMA busy_timeout = 50")
            for _ in range(2):
                with pytest.raises(LockTimeoutError):
                    await uow.items.count()
            holder.execute("ROLLBACK")
            holder.close()
            await uow.rollback()
            await add_item(uow, "cup")
            assert driver.in_transaction
        assert await sqlite_shop.names() == ["cup"]

    async def test_a_caught_lock_timeout_at_the_beginning_has_undone_nothing(self, sqlite_shop: Shop) -> None:
        holder = sqlite3.connect(str(sqlite_shop.database.url.database), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        async with sqlite_shop.unit() as uow:
            driver = await driver_of(uow)
            await driver._execute(driver._conn.execute, "PRAGMA busy_timeout = 50")
            with pytest.raises(LockTimeoutError):
                await uow.items.count()
            holder.execute("ROLLBACK")
            holder.close()
            assert await uow.items.count() == 0
            assert driver.in_transaction
        assert uow.outcome is Outcome.COMMITTED

    async def test_a_write_that_is_streamed_is_saved(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            written = await uow.session.stream(insert(Item).values(name="tea", price=1).returning(Item.name))
            assert [name async for (name,) in written] == ["tea"]
        assert await sqlite_shop.names() == ["tea"]

    async def test_a_write_on_the_drivers_own_connection_is_saved(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            await uow.items.count()
            await (await driver_of(uow)).execute("INSERT INTO countries VALUES ('de', 'Germany')")
        assert await sqlite_shop.run(lambda uow: uow.countries.count()) == 1

    async def test_a_connection_taken_from_the_pool_commits_as_it_is_told(self, sqlite_shop: Shop) -> None:
        def work(connection: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO countries VALUES ('de', 'Germany')")
            connection.commit()
            connection.close()

        await sqlite_shop.run(lambda uow: uow.items.count())
        await greenlet_spawn(work, await sqlite_shop.database.engine.raw_connection())
        assert await sqlite_shop.run(lambda uow: uow.countries.count()) == 1

    async def test_a_first_statement_that_ends_the_transaction_was_not_refused(self, sqlite_shop: Shop) -> None:
        failing = text("INSERT OR ROLLBACK INTO items (name) VALUES (NULL)")
        with pytest.raises(RolledBackError):
            async with sqlite_shop.unit() as uow:
                with pytest.raises(NotNullViolationError):
                    await uow.session.execute(failing)
                with pytest.raises(RolledBackError):
                    await add_item(uow, "tea")
        assert await sqlite_shop.names() == []

    async def test_readers_and_writers_at_once_lose_nothing(self, sqlite_shop: Shop) -> None:
        async def work(number: int) -> None:
            await sqlite_shop.run(lambda uow: uow.items.list())
            await sqlite_shop.run(lambda uow: add_item(uow, f"item {number}"))
            await sqlite_shop.run(lambda uow: uow.items.count(), read_only=True)

        await asyncio.gather(*(work(number) for number in range(40)))

        assert len(await sqlite_shop.names()) == 40
