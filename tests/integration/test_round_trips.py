"""What a transaction costs beside its statements: as little as makes no difference to anybody."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
import threading
import weakref
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import Connection, NullPool, bindparam, event, func, insert, literal, select, text
from sqlalchemy.exc import InvalidRequestError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from layered_backend import (
    ConcurrentUseError,
    Database,
    FinishedError,
    InvalidDataError,
    LockTimeoutError,
    NotNullViolationError,
    Outcome,
    RolledBackError,
)
from layered_backend.query import Lock
from layered_backend.upstream.sqlalchemy.aiosqlite_adapter import SingleTripConnection
from tests.databases import Shop
from tests.shop import Country, Item, ItemRead, ShopUnitOfWork, add_item

Work = Callable[[ShopUnitOfWork], Awaitable[Any]]


async def _driver_of(uow: ShopUnitOfWork) -> Any:
    return (await (await uow.session.connection()).get_raw_connection()).driver_connection


READS: dict[str, Work] = {
    "get": lambda uow: uow.items.get_or_none(1),
    "list": lambda uow: uow.items.list(Item.price > 0, order_by=Item.name),
    "exists": lambda uow: uow.items.exists(Item.name == "tea"),
    "count": lambda uow: uow.items.count(),
    "projection": lambda uow: uow.items.project(ItemRead).list(Item.id.in_([1, 2])),
}


_INSERT = "INSERT INTO countries (code, name) VALUES ('de', 'Germany')"
WRITES: dict[str, Callable[[AsyncConnection], Awaitable[Any]]] = {
    "many rows": lambda connection: connection.execute(
        insert(Country), [{"code": code, "name": code} for code in ("de", "fr")]
    ),
    "no parameters": lambda connection: connection.execute(text(_INSERT), execution_options={"no_parameters": True}),
    "text": lambda connection: connection.execute(text(_INSERT)),
    "text of the driver": lambda connection: connection.exec_driver_sql(_INSERT),
}


async def _savepoint(uow: ShopUnitOfWork) -> None:
    async with uow.savepoint():
        await uow.items.count()


async def _stream(uow: ShopUnitOfWork) -> None:
    async for _ in uow.items.stream():
        pass


async def _nothing(uow: ShopUnitOfWork) -> None:
    """Enter the unit of work, and leave it."""


OTHERS: dict[str, Work] = {
    "write": lambda uow: add_item(uow, "tea"),
    "lock": lambda uow: uow.items.get_or_none(1, lock=Lock.update()),
    "function": lambda uow: uow.session.scalar(select(func.txid_current())),
    "setting": lambda uow: uow.session.execute(text("SET LOCAL statement_timeout = '1min'")),
    "savepoint": _savepoint,
    "stream": _stream,
}


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

    async def test_ends_where_its_connection_was_closed(self, async_shop: Shop) -> None:
        uow = async_shop.unit()
        with pytest.raises(InvalidRequestError):
            async with uow:
                await uow.items.count()
                await (await uow.session.connection()).close()
        assert uow.outcome is Outcome.ROLLED_BACK

    async def test_commits_for_who_listens_to_the_engine(self, async_shop: Shop) -> None:
        heard: list[object] = []
        event.listen(async_shop.database.engine.sync_engine, "commit", heard.append)
        await async_shop.run(lambda uow: uow.items.count())
        assert len(heard) == 1


class TestPostgreSQL:
    @pytest.mark.parametrize("read", READS)
    async def test_a_read_needs_no_begin(self, asyncpg_shop: Shop, read: str) -> None:
        async with asyncpg_shop.unit() as uow:
            await READS[read](uow)
            assert not (await _driver_of(uow)).is_in_transaction()
        assert uow.outcome is Outcome.COMMITTED

    @pytest.mark.parametrize("kind", OTHERS)
    async def test_all_else_does_and_reads_are_in_the_transaction_from_then_on(
        self, asyncpg_shop: Shop, kind: str
    ) -> None:
        async with asyncpg_shop.unit() as uow:
            await uow.items.count()
            await OTHERS[kind](uow)
            assert (await _driver_of(uow)).is_in_transaction()
            await uow.items.count()
            assert (await _driver_of(uow)).is_in_transaction()

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    async def test_a_snapshot_begins_with_the_first_read(self, asyncpg_shop: Shop, level: str) -> None:
        async with asyncpg_shop.unit(isolation_level=level) as uow:
            assert await uow.items.count() == 0
            await asyncpg_shop.run(lambda other: add_item(other, "tea"))
            assert await uow.items.count() == 0

    async def test_the_next_unit_of_work_on_the_connection_begins_where_it_must(self, asyncpg_shop: Shop) -> None:
        for _ in range(3):
            await asyncpg_shop.run(lambda uow: uow.items.count())
            with pytest.raises(KeyError):
                async with asyncpg_shop.unit() as uow:
                    await uow.session.execute(insert(Item), [{"name": "tea", "price": 1}, {"name": "cup", "price": 1}])
                    raise KeyError
        assert await asyncpg_shop.names() == []

    async def test_a_read_past_the_entities_takes_any_connection_until_the_transaction_has_begun(
        self, asyncpg_shop: Shop
    ) -> None:
        async with asyncpg_shop.unit() as uow:
            assert await uow.items.count() == 0
            assert asyncpg_shop.checked_out == 0
            await add_item(uow, "tea")
            assert [item.name for item in await uow.items.project(ItemRead).list()] == ["tea"]
            assert await uow.items.count() == 1
            assert asyncpg_shop.checked_out == 1

    async def test_what_is_pending_is_written_before_a_read(self, asyncpg_shop: Shop) -> None:
        async with asyncpg_shop.unit() as uow:
            uow.session.add(Item(name="tea", price=Decimal(1)))
            assert await uow.items.exists(Item.name == "tea")
        assert await asyncpg_shop.names() == ["tea"]

    async def test_a_function_in_a_read_is_called_in_the_transaction(self, asyncpg_shop: Shop) -> None:
        await asyncpg_shop.run(lambda uow: add_item(uow, "tea"))
        async with asyncpg_shop.unit() as uow:
            await uow.items.project(ItemRead).list(func.pg_try_advisory_xact_lock(7))
            async with asyncpg_shop.unit() as other:
                assert not await other.items.exists(func.pg_try_advisory_xact_lock(7))
        assert await asyncpg_shop.run(lambda uow: uow.items.exists(func.pg_try_advisory_xact_lock(7)))

    async def test_who_sets_a_transaction_up_does_so_before_any_read(self, asyncpg_shop: Shop) -> None:
        def set_up(session: Session, transaction: object, connection: Connection) -> None:
            connection.execute(text("SET LOCAL application_name = 'set up'"))

        name = select(func.current_setting("application_name"))
        async with asyncpg_shop.unit() as uow:
            event.listen(uow.session.sync_session, "after_begin", set_up)
            await uow.items.count()
            assert asyncpg_shop.checked_out == 1
            assert (await _driver_of(uow)).is_in_transaction()
            assert await uow.session.scalar(name) == "set up"

    async def test_a_read_that_failed_is_remembered(self, asyncpg_shop: Shop) -> None:
        await asyncpg_shop.run(lambda uow: add_item(uow, "tea"))
        with pytest.raises(RolledBackError):
            async with asyncpg_shop.unit() as uow:
                with pytest.raises(InvalidDataError):
                    await uow.items.count(literal(1) / (Item.id - Item.id) > 1)

    async def test_two_tasks_do_not_read_at_once(self, asyncpg_shop: Shop) -> None:
        async with asyncpg_shop.unit() as uow:
            results = await asyncio.gather(uow.items.count(), uow.items.count(), return_exceptions=True)
        assert [type(result) for result in results] == [int, ConcurrentUseError]

    @pytest.mark.parametrize("way", WRITES)
    async def test_whichever_way_a_write_is_sent_after_a_read_it_is_in_the_transaction(
        self, asyncpg_shop: Shop, way: str
    ) -> None:
        with pytest.raises(KeyError):
            async with asyncpg_shop.unit() as uow:
                await uow.items.list()
                assert not (await _driver_of(uow)).is_in_transaction()
                await WRITES[way](await uow.session.connection())
                assert (await _driver_of(uow)).is_in_transaction()
                raise KeyError
        assert await asyncpg_shop.run(lambda uow: uow.countries.count()) == 0

    async def test_the_pool_gets_the_connection_back_as_it_was(self, asyncpg_shop: Shop) -> None:
        await asyncpg_shop.run(lambda uow: uow.items.list())
        async with asyncpg_shop.database.engine.connect() as connection:
            pooled: Any = await connection.get_raw_connection()
            assert pooled.dbapi_connection.autocommit is False

    async def test_an_engine_used_past_the_library_begins_as_ever(self, asyncpg_shop: Shop) -> None:
        await asyncpg_shop.run(lambda uow: uow.items.count())
        async with asyncpg_shop.database.engine.connect() as connection:
            await connection.execute(select(Item.id))
            await connection.execute(insert(Item).values(name="tea", price=1))
            await connection.rollback()
        assert await asyncpg_shop.names() == []

    async def test_a_cursor_past_sqlalchemy_begins_after_a_read(self, asyncpg_shop: Shop) -> None:
        def write(session: Session) -> None:
            session.connection().connection.cursor().execute("INSERT INTO countries VALUES ('de', 'Germany')")

        with pytest.raises(KeyError):
            async with asyncpg_shop.unit() as uow:
                await uow.items.count()
                await uow.session.run_sync(write)
                raise KeyError
        assert await asyncpg_shop.run(lambda uow: uow.countries.count()) == 0

    @pytest.mark.parametrize("read", READS)
    async def test_one_that_is_read_only_begins_so_before_any_read(self, asyncpg_shop: Shop, read: str) -> None:
        async with asyncpg_shop.unit(read_only=True) as uow:
            await READS[read](uow)
            assert asyncpg_shop.checked_out == 1
            assert (await _driver_of(uow)).is_in_transaction()

    async def test_a_read_only_unit_of_work_writes_nothing_after_a_read_either(self, asyncpg_shop: Shop) -> None:
        async with asyncpg_shop.unit(read_only=True) as uow:
            await uow.items.count()
            with pytest.raises(Exception, match="nothing can be written"):
                await add_item(uow, "tea")
            await uow.rollback()
        assert await asyncpg_shop.names() == []


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
            driver = await _driver_of(uow)
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
            driver = await _driver_of(uow)
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
            await (await _driver_of(uow)).execute("INSERT INTO countries VALUES ('de', 'Germany')")
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
