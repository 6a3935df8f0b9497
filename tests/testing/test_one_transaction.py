from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import Executable, String, delete, insert, literal_column, select, text, union

from layered_backend import (
    ForeignKeyViolationError,
    Outcome,
    ReadOnlyError,
    RolledBackError,
    UniqueViolationError,
    UnitOfWorkError,
    transact,
)
from layered_backend.testing import in_one_transaction, in_one_transaction_sync
from tests.databases import ASYNC_BACKENDS, Shop, backends_of
from tests.shop import Item, ItemRead, ShopUnitOfWork, add_item, violate


class TestUnitsOfWork:
    async def test_one_after_another_sees_what_the_last_has_committed(self, bound: Shop) -> None:
        await bound.run(lambda uow: add_item(uow, "tea"))
        await bound.run(lambda uow: add_item(uow, "coffee"))

        assert await bound.names() == ["tea", "coffee"]

    async def test_what_raises_is_undone_alone(self, bound: Shop) -> None:
        async def fail(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "coffee")
            raise ZeroDivisionError

        await bound.run(lambda uow: add_item(uow, "tea"))
        with pytest.raises(ZeroDivisionError):
            await bound.run(fail)

        assert await bound.names() == ["tea"]

    async def test_a_violated_constraint_undoes_its_own_alone(self, bound: Shop) -> None:
        await bound.run(lambda uow: add_item(uow, "tea"))

        with pytest.raises(UniqueViolationError) as caught:
            await bound.run(lambda uow: add_item(uow, "tea"))

        assert caught.value.columns == ("name",)
        assert await bound.names() == ["tea"]

    async def test_a_swallowed_error_is_refused_at_the_commit(self, bound: Shop) -> None:
        async def swallow(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(UniqueViolationError):
                await violate(uow)

        with pytest.raises(RolledBackError):
            await bound.run(swallow)

        assert await bound.names() == []

    async def test_savepoints_nest_in_it(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            for name in ("coffee", "tea"):
                try:
                    async with uow.savepoint():
                        await add_item(uow, f"{name} pot")
                        async with uow.savepoint():
                            await add_item(uow, name)
                except UniqueViolationError:
                    pass

        await bound.run(work)

        assert await bound.names() == ["tea", "coffee pot", "coffee"]

    async def test_hooks_run_after_the_commit_and_not_after_a_rollback(self, bound: Shop) -> None:
        told: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            uow.on_commit(lambda: told.append("committed"))
            await uow.commit()
            assert told == ["committed"]
            await add_item(uow, "coffee")
            uow.on_commit(lambda: told.append("never"))
            await uow.rollback()

        await bound.run(work)

        assert told == ["committed"]
        assert await bound.names() == ["tea"]

    async def test_its_outcome_is_told(self, bound: Shop) -> None:
        outcomes: list[Outcome] = []

        async def work(uow: ShopUnitOfWork) -> ShopUnitOfWork:
            await add_item(uow, "tea")
            outcomes.append(uow.outcome)
            return uow

        outcomes.append((await bound.run(work)).outcome)

        assert outcomes == [Outcome.OPEN, Outcome.COMMITTED]

    async def test_one_that_only_reads_refuses_to_write(self, bound: Shop) -> None:
        await bound.run(lambda uow: add_item(uow, "tea"))

        assert await bound.run(lambda uow: uow.items.count(), read_only=True) == 1
        with pytest.raises(ReadOnlyError):
            await bound.run(lambda uow: add_item(uow, "coffee"), read_only=True)

    async def test_an_isolation_level_is_taken_and_changes_nothing(self, bound: Shop) -> None:
        await bound.run(lambda uow: add_item(uow, "tea"), isolation_level="SERIALIZABLE")

        assert await bound.names() == ["tea"]

    @pytest.mark.parametrize("level", ["NONSENSE", "AUTOCOMMIT"])
    async def test_an_isolation_level_is_refused_as_alone(self, shop: Shop, level: str) -> None:
        async def refusal() -> str:
            try:
                await shop.run(lambda uow: uow.items.count(), isolation_level=level)
            except (ValueError, UnitOfWorkError) as error:
                return str(error)
            return ""

        alone = await refusal()
        if shop.backend.asynchronous:
            async with in_one_transaction(shop.database):
                assert await refusal() == alone
        else:
            with in_one_transaction_sync(shop.database):
                assert await refusal() == alone

    async def test_a_projection_reads_and_a_page_streams(self, bound: Shop) -> None:
        async def read(uow: ShopUnitOfWork) -> list[str]:
            names = [item.name for item in await uow.items.project(ItemRead).list()]
            return names + [item.name async for item in uow.items.stream(batch_size=1)]

        await bound.run(lambda uow: add_item(uow, "tea"))

        assert await bound.run(read) == ["tea", "tea"]

    async def test_many_rows_are_written(self, bound: Shop) -> None:
        rows = [{"name": f"tea {number}", "price": Decimal(number)} for number in range(50)]

        assert await bound.run(lambda uow: uow.items.create_many(rows)) == 50
        assert await bound.run(lambda uow: uow.items.count()) == 50


_UPDATE = Item.price.label("update")
_CHEAP = select(_UPDATE).cte("cheap")
_STATEMENTS: dict[str, Executable] = {
    "a column that is named as a write": select(_UPDATE),
    "such a column in a common table expression": select(_CHEAP.c.update).where(_CHEAP.c.update > 1),
    "such a value": select(literal_column("'delete'", String())),
    "such a value in a common table expression": text("WITH t AS (SELECT 'delete' AS x) SELECT x FROM t"),
    "a comment before a read": text("/* insert */ /* twice */ -- delete\nSELECT 1"),
    "a comment before a write": text("/* SELECT */ DELETE FROM items"),
    "a lock": select(Item).with_for_update(),
    "a shared lock": select(Item).with_for_update(read=True),
    "a write": delete(Item),
}
_WRITES = {
    "a write after a common table expression": "WITH cheap AS (SELECT id FROM items) DELETE FROM items",
    "a write in a common table expression": "WITH gone AS (DELETE FROM items RETURNING id) SELECT id FROM gone",
    "a write that is explained and carried out": "EXPLAIN ANALYZE DELETE FROM items",
    "a second statement": "SELECT 1; DELETE FROM items",
    "DDL": "CREATE TABLE lines (id integer)",
}


class TestReadOnly:
    """A unit of work with `read_only=True` refuses in a test what the database refuses, and nothing else."""

    @pytest.mark.parametrize("statement", _STATEMENTS.values(), ids=_STATEMENTS)
    async def test_a_statement_is_refused_where_the_database_refuses_it(
        self, shop: Shop, statement: Executable
    ) -> None:
        async def is_refused() -> bool:
            try:
                await shop.run(lambda uow: uow.session.execute(statement), read_only=True)
            except ReadOnlyError:
                return True
            return False

        alone = await is_refused()
        if shop.backend.asynchronous:
            async with in_one_transaction(shop.database):
                assert await is_refused() == alone
        else:
            with in_one_transaction_sync(shop.database):
                assert await is_refused() == alone

    @pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
    async def test_a_read_in_parentheses_is_sent(self, bound: Shop) -> None:
        both = union(select(Item.id).limit(1), select(Item.id).limit(1))

        assert (await bound.run(lambda uow: uow.session.execute(both), read_only=True)).all() == []

    @pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
    @pytest.mark.parametrize("statement", _WRITES.values(), ids=_WRITES)
    async def test_a_write_is_refused_wherever_it_stands(self, bound: Shop, statement: str) -> None:
        with pytest.raises(ReadOnlyError):
            await bound.run(lambda uow: uow.session.execute(text(statement)), read_only=True)


class TestDeferredConstraints:
    @pytest.mark.parametrize("shop", backends_of("sqlite", "postgresql"), indirect=True, ids=str)
    async def test_they_are_checked_at_the_commit(self, bound: Shop) -> None:
        await bound.run(_make_deferred_table)

        async def violate_late(uow: ShopUnitOfWork) -> None:
            await uow.session.execute(text("INSERT INTO lines (id, item_id) VALUES (1, 7)"))

        with pytest.raises(ForeignKeyViolationError):
            await bound.run(violate_late)

        async def satisfy_late(uow: ShopUnitOfWork) -> None:
            await violate_late(uow)
            await uow.session.execute(insert(Item).values(id=7, name="tea", price=1))

        await bound.run(satisfy_late)
        assert await bound.names() == ["tea"]


async def _make_deferred_table(uow: ShopUnitOfWork) -> None:
    await uow.session.execute(
        text(
            "CREATE TABLE lines (id integer PRIMARY KEY,"
            " item_id integer CONSTRAINT fk_lines REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    )


class TestAtTheSameTime:
    async def test_one_inside_another_shares_its_fate(self, async_bound: Shop) -> None:
        async with async_bound.unit() as outer:
            await add_item(outer, "tea")
            async with async_bound.unit() as inner:
                await add_item(inner, "coffee")
                async with inner.savepoint():
                    await add_item(inner, "milk")
            async with outer.savepoint():
                await add_item(outer, "sugar")

        assert await async_bound.names() == ["tea", "coffee", "milk", "sugar"]

    async def test_the_savepoints_of_each_are_its_own(self, async_bound: Shop) -> None:
        async with async_bound.unit() as outer:
            async with outer.savepoint():
                await add_item(outer, "tea")
                async with async_bound.unit() as inner:
                    async with inner.savepoint():
                        await add_item(inner, "coffee")
                await add_item(outer, "milk")

        assert await async_bound.names() == ["tea", "coffee", "milk"]

    async def test_tasks_take_turns(self, async_bound: Shop) -> None:
        async def work(number: int) -> None:
            async with async_bound.unit() as uow:
                await add_item(uow, f"tea {number}")
                await asyncio.sleep(0.01)
                await add_item(uow, f"coffee {number}")
                if number % 2:
                    raise ZeroDivisionError

        await asyncio.gather(*map(work, range(6)), return_exceptions=True)

        expected = sorted(f"{name} {number}" for name in ("tea", "coffee") for number in (0, 2, 4))
        assert sorted(await async_bound.names()) == expected

    async def test_the_outer_one_waits_for_a_background_task_that_it_started(self, async_bound: Shop) -> None:
        begun = asyncio.Event()

        async def work() -> None:
            async with async_bound.unit() as uow:
                await add_item(uow, "coffee")
                begun.set()
                await asyncio.sleep(0.02)
                await add_item(uow, "milk")

        async with async_bound.unit() as outer:
            await add_item(outer, "tea")
            task = asyncio.create_task(work())
            await begun.wait()
            assert await outer.items.count() == 2
        await task

        assert await async_bound.names() == ["tea", "coffee", "milk"]

    async def test_one_that_writes_into_another_is_told(self, async_bound: Shop) -> None:
        async with async_bound.unit() as outer:
            await add_item(outer, "tea")
            async with async_bound.unit() as inner:
                await add_item(inner, "coffee")
                with pytest.raises(UnitOfWorkError, match="open at the same time on the one connection of this test"):
                    await outer.session.execute(insert(Item).values(name="milk", price=1))

    async def test_transact_runs_its_work(self, async_bound: Shop) -> None:
        await transact(async_bound.unit, lambda uow: add_item(uow, "tea"))

        assert await async_bound.names() == ["tea"]

    async def test_a_task_that_is_cancelled_is_undone_alone(self, async_bound: Shop) -> None:
        async def work() -> None:
            async with async_bound.unit() as uow:
                await add_item(uow, "coffee")
                await asyncio.sleep(60)

        await async_bound.run(lambda uow: add_item(uow, "tea"))
        task = asyncio.create_task(work())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert await async_bound.names() == ["tea"]

    @pytest.mark.parametrize("async_shop", ASYNC_BACKENDS[:3], indirect=True, ids=str)
    async def test_a_statement_that_is_cut_off_is_undone_alone(self, async_bound: Shop) -> None:
        await async_bound.run(lambda uow: add_item(uow, "tea"))
        await _cut_off(async_bound)

        assert await async_bound.names() == ["tea"]

    @pytest.mark.parametrize("async_shop", ASYNC_BACKENDS[3:], indirect=True, ids=str)
    async def test_a_driver_that_closes_its_connection_then_is_told_of(self, async_shop: Shop) -> None:
        async with in_one_transaction(async_shop.database):
            await _cut_off(async_shop)
        async with in_one_transaction(async_shop.database):
            await _cut_off(async_shop)

            with pytest.raises(UnitOfWorkError, match="a statement was cut off, and this driver has closed"):
                await async_shop.names()

        assert await async_shop.names() == []


async def _cut_off(shop: Shop) -> None:
    """Cancel a task while it waits for the database."""

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "coffee")
        await uow.session.execute(text(SLOW[shop.backend.server]))

    task = asyncio.create_task(shop.run(work))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(0.5)",
    "mariadb": "SELECT sleep(0.5)",
}


class TestEngines:
    async def test_a_plain_connection_of_the_engine_is_in_it(self, async_bound: Shop) -> None:
        async with async_bound.database.engine.begin() as connection:
            await connection.execute(insert(Item).values(name="tea", price=1))

        assert await async_bound.names() == ["tea"]

    async def test_reading_in_autocommit_is_in_it(self, async_bound: Shop) -> None:
        await async_bound.run(lambda uow: add_item(uow, "tea"))

        read = await async_bound.database.read(lambda connection: connection.scalar(text("SELECT count(*) FROM items")))

        assert read == 1

    async def test_create_all_ping_and_dispose_harm_nothing(self, async_bound: Shop) -> None:
        await async_bound.run(lambda uow: add_item(uow, "tea"))
        if async_bound.backend.server != "mariadb":  # whose DDL commits
            await async_bound.database.create_all(Item.metadata)

        async with async_bound.database:
            await async_bound.database.ping()

        assert await async_bound.names() == ["tea"]

    async def test_without_an_event_loop_it_says_what_to_use(self, async_bound: Shop) -> None:
        def work() -> None:
            with async_bound.unit() as uow:
                uow.run(uow.items.count())

        with pytest.raises(UnitOfWorkError, match="database_sync"):
            await asyncio.to_thread(work)

    async def test_another_event_loop_is_told_to_be_one(self, async_bound: Shop) -> None:
        def work() -> None:
            asyncio.run(async_bound.run(lambda uow: uow.items.count()))

        with pytest.raises(UnitOfWorkError, match="`client` fixture"):
            await asyncio.to_thread(work)
