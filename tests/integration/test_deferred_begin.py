"""Deferred BEGIN: what the application trades for two round trips, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from layered_backend import ConcurrentUseError, Database, InvalidDataError, Outcome, RolledBackError
from layered_backend.query import Lock
from tests.databases import Shop, backends_of
from tests.reads import READS, Work, driver_of
from tests.shop import Country, Item, ItemRead, ShopUnitOfWork, add_item

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


OTHERS: dict[str, Work] = {
    "write": lambda uow: add_item(uow, "tea"),
    "lock": lambda uow: uow.items.get_or_none(1, lock=Lock.update()),
    "function": lambda uow: uow.session.scalar(select(func.txid_current())),
    "setting": lambda uow: uow.session.execute(text("SET LOCAL statement_timeout = '1min'")),
    "savepoint": _savepoint,
    "stream": _stream,
}


class TestByDefault:
    @pytest.mark.parametrize("read", READS)
    async def test_a_read_begins_the_transaction(self, asyncpg_shop: Shop, read: str) -> None:
        async with asyncpg_shop.unit() as uow:
            await READS[read](uow)
            assert asyncpg_shop.checked_out == 1
            assert (await driver_of(uow)).is_in_transaction()

    async def test_a_read_that_writes_is_undone_with_the_rest(self, asyncpg_shop: Shop) -> None:
        async with asyncpg_shop.unit() as uow:
            for statement in (
                "CREATE TEMPORARY TABLE touches (n int)",
                "CREATE FUNCTION pg_temp.touch() RETURNS int LANGUAGE plpgsql AS "
                "'BEGIN INSERT INTO touches VALUES (1); RETURN 1; END'",
                "CREATE TEMPORARY VIEW touching AS SELECT pg_temp.touch() AS touched",
            ):
                await uow.session.execute(text(statement))
            await uow.commit()
            assert await uow.session.scalar(text("SELECT touched FROM touching")) == 1
            await uow.rollback()
            assert await uow.session.scalar(text("SELECT count(*) FROM touches")) == 0

    @pytest.mark.parametrize("clock", [func.current_timestamp(), func.localtimestamp(), func.now()], ids=str)
    @pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
    async def test_the_clock_of_a_transaction_stands_still(self, shop: Shop, clock: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            first = await uow.session.scalar(select(clock))
            await uow.session.execute(text("SELECT pg_sleep(0.002)"))
            assert await uow.session.scalar(select(clock)) == first

        await shop.run(work)


class TestDeferred:
    @pytest.mark.parametrize("read", READS)
    async def test_a_read_needs_no_begin(self, deferred_shop: Shop, read: str) -> None:
        async with deferred_shop.unit() as uow:
            await READS[read](uow)
            assert not (await driver_of(uow)).is_in_transaction()
        assert uow.outcome is Outcome.COMMITTED

    @pytest.mark.parametrize("kind", OTHERS)
    async def test_all_else_does_and_reads_are_in_the_transaction_from_then_on(
        self, deferred_shop: Shop, kind: str
    ) -> None:
        async with deferred_shop.unit() as uow:
            await uow.items.count()
            await OTHERS[kind](uow)
            assert (await driver_of(uow)).is_in_transaction()
            await uow.items.count()
            assert (await driver_of(uow)).is_in_transaction()

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    async def test_a_snapshot_begins_with_the_first_read(self, deferred_shop: Shop, level: str) -> None:
        async with deferred_shop.unit(isolation_level=level) as uow:
            assert await uow.items.count() == 0
            await deferred_shop.run(lambda other: add_item(other, "tea"))
            assert await uow.items.count() == 0

    async def test_the_next_unit_of_work_on_the_connection_begins_where_it_must(self, deferred_shop: Shop) -> None:
        for _ in range(3):
            await deferred_shop.run(lambda uow: uow.items.count())
            with pytest.raises(KeyError):
                async with deferred_shop.unit() as uow:
                    await uow.session.execute(insert(Item), [{"name": "tea", "price": 1}, {"name": "cup", "price": 1}])
                    raise KeyError
        assert await deferred_shop.names() == []

    async def test_a_read_past_the_entities_takes_any_connection_until_the_transaction_has_begun(
        self, deferred_shop: Shop
    ) -> None:
        async with deferred_shop.unit() as uow:
            assert await uow.items.count() == 0
            assert deferred_shop.checked_out == 0
            await add_item(uow, "tea")
            assert [item.name for item in await uow.items.project(ItemRead).list()] == ["tea"]
            assert await uow.items.count() == 1
            assert deferred_shop.checked_out == 1

    async def test_what_is_pending_is_written_before_a_read(self, deferred_shop: Shop) -> None:
        async with deferred_shop.unit() as uow:
            uow.session.add(Item(name="tea", price=Decimal(1)))
            assert await uow.items.exists(Item.name == "tea")
        assert await deferred_shop.names() == ["tea"]

    async def test_a_function_in_a_read_is_called_in_the_transaction(self, deferred_shop: Shop) -> None:
        await deferred_shop.run(lambda uow: add_item(uow, "tea"))
        async with deferred_shop.unit() as uow:
            await uow.items.project(ItemRead).list(func.pg_try_advisory_xact_lock(7))
            async with deferred_shop.unit() as other:
                assert not await other.items.exists(func.pg_try_advisory_xact_lock(7))
        assert await deferred_shop.run(lambda uow: uow.items.exists(func.pg_try_advisory_xact_lock(7)))

    async def test_who_sets_a_transaction_up_does_so_before_any_read(self, deferred_shop: Shop) -> None:
        def set_up(session: Session, transaction: object, connection: Connection) -> None:
            connection.execute(text("SET LOCAL application_name = 'set up'"))

        name = select(func.current_setting("application_name"))
        async with deferred_shop.unit() as uow:
            event.listen(uow.session.sync_session, "after_begin", set_up)
            await uow.items.count()
            assert deferred_shop.checked_out == 1
            assert (await driver_of(uow)).is_in_transaction()
            assert await uow.session.scalar(name) == "set up"

    async def test_a_read_that_failed_is_remembered(self, deferred_shop: Shop) -> None:
        await deferred_shop.run(lambda uow: add_item(uow, "tea"))
        with pytest.raises(RolledBackError):
            async with deferred_shop.unit() as uow:
                with pytest.raises(InvalidDataError):
                    await uow.items.count(literal(1) / (Item.id - Item.id) > 1)

    async def test_two_tasks_do_not_read_at_once(self, deferred_shop: Shop) -> None:
        async with deferred_shop.unit() as uow:
            results = await asyncio.gather(uow.items.count(), uow.items.count(), return_exceptions=True)
        assert [type(result) for result in results] == [int, ConcurrentUseError]

    @pytest.mark.parametrize("way", WRITES)
    async def test_whichever_way_a_write_is_sent_after_a_read_it_is_in_the_transaction(
        self, deferred_shop: Shop, way: str
    ) -> None:
        with pytest.raises(KeyError):
            async with deferred_shop.unit() as uow:
                await uow.items.list()
                assert not (await driver_of(uow)).is_in_transaction()
                await WRITES[way](await uow.session.connection())
                assert (await driver_of(uow)).is_in_transaction()
                raise KeyError
        assert await deferred_shop.run(lambda uow: uow.countries.count()) == 0

    async def test_the_pool_gets_the_connection_back_as_it_was(self, deferred_shop: Shop) -> None:
        await deferred_shop.run(lambda uow: uow.items.list())
        async with deferred_shop.database.engine.connect() as connection:
            pooled: Any = await connection.get_raw_connection()
            assert pooled.dbapi_connection.autocommit is False

    async def test_an_engine_used_past_the_library_begins_as_ever(self, deferred_shop: Shop) -> None:
        await deferred_shop.run(lambda uow: uow.items.count())
        async with deferred_shop.database.engine.connect() as connection:
            await connection.execute(select(Item.id))
            await connection.execute(insert(Item).values(name="tea", price=1))
            await connection.rollback()
        assert await deferred_shop.names() == []

    async def test_a_cursor_past_sqlalchemy_begins_after_a_read(self, deferred_shop: Shop) -> None:
        def write(session: Session) -> None:
            session.connection().connection.cursor().execute("INSERT INTO countries VALUES ('de', 'Germany')")

        with pytest.raises(KeyError):
            async with deferred_shop.unit() as uow:
                await uow.items.count()
                await uow.session.run_sync(write)
                raise KeyError
        assert await deferred_shop.run(lambda uow: uow.countries.count()) == 0

    @pytest.mark.parametrize("read", READS)
    async def test_one_that_is_read_only_begins_so_before_any_read(self, deferred_shop: Shop, read: str) -> None:
        async with deferred_shop.unit(read_only=True) as uow:
            await READS[read](uow)
            assert deferred_shop.checked_out == 1
            assert (await driver_of(uow)).is_in_transaction()

    async def test_a_read_only_unit_of_work_writes_nothing_after_a_read_either(self, deferred_shop: Shop) -> None:
        async with deferred_shop.unit(read_only=True) as uow:
            await uow.items.count()
            with pytest.raises(Exception, match="nothing can be written"):
                await add_item(uow, "tea")
            await uow.rollback()
        assert await deferred_shop.names() == []

    @pytest.mark.parametrize("clock", [func.current_timestamp(), func.localtimestamp(), func.now()], ids=str)
    async def test_the_clock_of_a_transaction_stands_still(self, deferred_shop: Shop, clock: Any) -> None:
        async with deferred_shop.unit() as uow:
            first = await uow.session.scalar(select(clock))
            await asyncio.sleep(0.002)
            assert await uow.session.scalar(select(clock)) == first

    async def test_a_comment_at_the_end_changes_nothing(self, deferred_shop: Shop) -> None:
        async with deferred_shop.unit() as uow:
            await uow.session.scalar(text("SELECT 1 FROM items /*route='%2Fitems'*/"))
            assert not (await driver_of(uow)).is_in_transaction()
            await uow.session.scalar(text("SELECT txid_current() /*route='%2Fitems'*/"))
            assert (await driver_of(uow)).is_in_transaction()


async def test_another_driver_begins_as_ever(shop: Shop) -> None:
    options: dict[str, Any] = {"sync_url": shop.database.sync_url, "deferred_begin": True}
    async with Database(shop.database.url, **options) as database:
        other = Shop(shop.backend, database)
        with pytest.raises(KeyError):
            await other.run(_write_and_raise)
        assert await other.names() == []


async def _write_and_raise(uow: ShopUnitOfWork) -> None:
    await uow.items.count()
    await add_item(uow, "tea")
    raise KeyError
