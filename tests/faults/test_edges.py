"""What must hold where the guarantees meet: savepoints and streams, errors and what was sent before them, ends within ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from layered_backend import (
    CommitUnknownError,
    ConcurrentUseError,
    Database,
    FinishedError,
    InvalidDataError,
    LayeredError,
    Outcome,
    RolledBackError,
    UnitOfWorkError,
)
from tests.databases import ASYNC_BACKENDS, Shop, backends_of, database_at
from tests.faults.slow import slow_query
from tests.faults.soundness import assert_sound
from tests.shop import Item, ShopUnitOfWork, add_item

ON_SERVERS = [backend for backend in ASYNC_BACKENDS if backend.server != "sqlite"]


async def outcome_of(uow: ShopUnitOfWork, work: Callable[[ShopUnitOfWork], Awaitable[object]]) -> Outcome:
    """Run *work* in the block of *uow*, whatever it raises."""
    try:
        async with uow:
            await work(uow)
    except (LayeredError, ValueError):
        pass
    return uow.outcome


class TestStreamsInSavepoints:
    async def _abandon_a_stream(self, uow: ShopUnitOfWork, kept: list[Any]) -> None:
        """Leave a savepoint by an error, while a result is being streamed in it."""
        with pytest.raises(ZeroDivisionError):
            async with uow.savepoint():
                await add_item(uow, "undone")
                uow.on_commit(lambda: kept.append("the undone hook"))
                rows = await uow.session.stream(text("SELECT name FROM items"))
                kept.append(rows)
                async for _ in rows:
                    raise ZeroDivisionError

    @pytest.mark.parametrize("goes_on", [False, True])
    async def test_the_savepoint_is_undone_and_the_rest_is_saved(self, async_shop: Shop, goes_on: bool) -> None:
        ran: list[str] = []
        kept: list[Any] = []
        async with async_shop.unit() as uow:
            for number in range(5):
                await add_item(uow, f"{number}")
            uow.on_commit(lambda: ran.append("hook"))
            await self._abandon_a_stream(uow, kept)
            if goes_on:
                await add_item(uow, "later")

        assert uow.outcome is Outcome.COMMITTED
        assert ran == ["hook"]
        assert len(kept) == 1
        assert await async_shop.names() == [*"01234", *(["later"] if goes_on else [])]
        await assert_sound(async_shop)

    async def test_a_stream_around_a_savepoint_goes_on_where_the_database_can(self, async_shop: Shop) -> None:
        seen: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            for number in range(3):
                await add_item(uow, f"{number}")
            async for (name,) in await uow.session.stream(text("SELECT name FROM items ORDER BY id")):
                async with uow.savepoint():
                    await uow.countries.create({"code": f"c{name}", "name": name})
                seen.append(name)

        if async_shop.backend.server == "mariadb":
            with pytest.raises(UnitOfWorkError, match="a result is being streamed"):
                await async_shop.run(work)
            assert await async_shop.names() == []
        else:
            await async_shop.run(work)
            assert seen == ["0", "1", "2"]
        await assert_sound(async_shop)

    async def test_a_result_that_ended_with_its_transaction_says_so(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            await uow.session.execute(
                insert(Item), [{"name": f"{number}", "price": 1, "note": "x" * 200} for number in range(300)]
            )
            rows = await uow.session.stream(text("SELECT name, note FROM items"), execution_options={"yield_per": 1})
            await rows.fetchone()
            await uow.commit()
            with pytest.raises(FinishedError, match="ended with the transaction"):
                await rows.fetchall()


class TestSavepoints:
    async def test_two_that_overlap_are_refused(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            first, second = uow.savepoint(), uow.savepoint()
            await first.__aenter__()
            await second.__aenter__()
            await add_item(uow, "in both")
            with pytest.raises(UnitOfWorkError, match="they can only nest"):
                await first.__aexit__(None, None, None)
            error = ValueError("undo the second")
            await second.__aexit__(ValueError, error, None)

        with pytest.raises(RolledBackError) as caught:
            async with async_shop.unit() as uow:
                await work(uow)

        assert isinstance(caught.value.__cause__, UnitOfWorkError)
        assert await async_shop.names() == []
        await assert_sound(async_shop)

    async def test_hooks_run_though_a_savepoint_of_sqlalchemys_own_is_left_open(self, async_shop: Shop) -> None:
        ran: list[str] = []
        async with async_shop.unit() as uow:
            uow.on_commit(lambda: ran.append("first"))
            await uow.session.begin_nested()
            await add_item(uow, "tea")
            uow.on_commit(lambda: ran.append("second"))

        assert uow.outcome is Outcome.COMMITTED
        assert ran == ["first", "second"]

    async def test_hooks_run_though_one_could_not_be_opened(self, async_shop: Shop) -> None:
        ran: list[str] = []
        async with Database(async_shop.database.url, pool_size=1, max_overflow=0) as database:
            async with ShopUnitOfWork(database, read_only=True) as other, ShopUnitOfWork(database) as uow:
                await other.session.connection()
                uow.on_commit(lambda: ran.append("hook"))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        async with uow.savepoint():
                            raise AssertionError
                await other.rollback()
                await add_item(uow, "tea")

            assert uow.outcome is Outcome.COMMITTED
            assert ran == ["hook"]

    async def test_one_that_cannot_be_undone_undoes_all(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        await shop.names()
        engine = shop.database.engine.sync_engine if shop.backend.asynchronous else shop.database.sync_engine

        def refuse(connection: object, name: str) -> None:
            raise RuntimeError("no way back")

        async def work(uow: ShopUnitOfWork) -> None:
            monkeypatch.setattr(engine.dialect, "do_rollback_to_savepoint", refuse)
            with pytest.raises(ValueError, match="undo"):
                async with uow.savepoint():
                    await add_item(uow, "tea")
                    raise ValueError("undo")

        with pytest.raises(RolledBackError) as caught:
            await shop.run(work)

        assert isinstance(caught.value.__cause__, RuntimeError)
        assert await shop.names() == []

    @pytest.mark.parametrize("async_shop", backends_of("mariadb")[:1], indirect=True, ids=str)
    async def test_one_that_was_refused_leaves_nothing_open(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow, uow.savepoint():
            await add_item(uow, "tea")
            rows = await uow.session.stream(text("SELECT name FROM items"))
            with pytest.raises(UnitOfWorkError, match="a result is being streamed"):
                async with uow.savepoint():
                    raise AssertionError
            await rows.close()

        assert await async_shop.names() == ["tea"]


class TestErrors:
    @pytest.mark.parametrize("shop", backends_of("sqlite"), indirect=True, ids=str)
    async def test_nothing_is_written_past_a_transaction_that_sqlite_has_ended(self, shop: Shop) -> None:
        again = text(
            "INSERT OR ROLLBACK INTO items (name, price, color, created_at, updated_at)"
            " VALUES ('tea', 1, 'x', '2020-01-01', '2020-01-01')"
        )

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(LayeredError):
                await uow.session.execute(again)
            with pytest.raises(RolledBackError):
                await add_item(uow, "later")

        with pytest.raises(RolledBackError):
            await shop.run(work)

        assert await shop.names() == []

        async def work_anew(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(LayeredError):
                await uow.session.execute(again)
            await uow.rollback()
            await add_item(uow, "coffee")

        await shop.run(work_anew)
        assert await shop.names() == ["coffee"]

    async def test_rows_that_were_sent_before_a_bad_one_are_not_saved(self, shop: Shop) -> None:
        statement = text(
            "INSERT INTO items (name, price, color, created_at, updated_at)"
            " VALUES (:name, 1, 'x', '2020-01-01 00:00:00', '2020-01-01 00:00:00')"
        )

        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(InvalidDataError):
                await uow.session.execute(statement, [{"name": "tea"}, {"name": "\ud800"}])

        with pytest.raises(RolledBackError):
            await shop.run(work)

        assert await shop.names() == []


class TestEnds:
    async def test_a_rollback_is_not_cut_off(self, async_shop: Shop) -> None:
        for ticks in range(14):
            ran: list[int] = []
            async with async_shop.unit() as uow:
                uow.on_commit(lambda ran=ran: ran.append(1))  # type: ignore[misc]
                await add_item(uow, f"undone {ticks}")
                asyncio.get_running_loop().call_soon(_cancel_later, asyncio.current_task(), ticks)
                try:
                    await uow.rollback()
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    pass
                await add_item(uow, f"saved {ticks}")
            assert uow.outcome is Outcome.COMMITTED
            assert ran == []

        assert await async_shop.names() == [f"saved {ticks}" for ticks in range(14)]

    @pytest.mark.parametrize("ticks", range(10))
    async def test_a_strays_commit_is_waited_for(self, async_shop: Shop, ticks: int) -> None:
        ran: list[str] = []
        units: list[ShopUnitOfWork] = []
        children: list[asyncio.Task[None]] = []

        async def leave_a_child() -> None:
            async with async_shop.unit() as uow:
                units.append(uow)
                await add_item(uow, "tea")
                uow.on_commit(lambda: ran.append("hook"))
                children.append(asyncio.create_task(uow.commit()))
                for _ in range(ticks):
                    await asyncio.sleep(0)

        with suppress(ConcurrentUseError):
            await leave_a_child()
        await asyncio.wait(children)

        is_saved = await async_shop.names() == ["tea"]
        assert units[0].outcome is (Outcome.COMMITTED if is_saved else Outcome.ROLLED_BACK)
        assert ran == (["hook"] if is_saved else [])
        await assert_sound(async_shop)

    async def test_an_unknown_outcome_stays_unknown(self, async_shop: Shop) -> None:
        if async_shop.backend.server == "sqlite":
            return  # it always answers
        await async_shop.names()
        dialect: Any = async_shop.database.engine.sync_engine.dialect
        real = dialect.do_commit

        def lose_the_answer(connection: object) -> None:
            real(connection)
            dialect.do_commit = real
            raise ConnectionResetError

        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            dialect.do_commit = lose_the_answer
            with pytest.raises(CommitUnknownError):
                await uow.commit()
            await uow.rollback()
            assert uow.outcome is Outcome.UNKNOWN
            await outcome_of(uow, lambda uow: uow.items.count())
            with pytest.raises(CommitUnknownError):
                await uow.commit()
            await uow.rollback()

        assert uow.outcome is Outcome.UNKNOWN

    async def test_a_rollback_after_a_commit_does_not_take_it_back(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            await uow.commit()
            await uow.rollback()

        assert uow.outcome is Outcome.COMMITTED

    async def test_a_commit_that_a_listener_forbids_leaves_the_transaction_open(self, async_shop: Shop) -> None:
        def forbid(session: Session) -> None:
            event.remove(session, "before_commit", forbid)
            raise ValueError("not yet")

        async with async_shop.unit() as uow:
            await add_item(uow, "tea")
            event.listen(uow.session.sync_session, "before_commit", forbid)
            with pytest.raises(ValueError, match="not yet"):
                await uow.commit()
            assert str(uow.outcome) == "open"

        assert str(uow.outcome) == "committed"
        assert await async_shop.names() == ["tea"]

    def test_autocommit_is_no_isolation_level_of_a_transaction(self) -> None:
        with pytest.raises(ValueError, match="cannot be AUTOCOMMIT"):
            Database("sqlite://", isolation_level="AUTOCOMMIT")
        with pytest.raises(ValueError, match="cannot be AUTOCOMMIT"):
            ShopUnitOfWork(Database("sqlite://"), isolation_level="autocommit")

    @pytest.mark.parametrize("async_shop", ON_SERVERS, indirect=True, ids=str)
    async def test_an_isolation_level_that_is_none_costs_no_connection(self, async_shop: Shop) -> None:
        with pytest.raises(
            ValueError, match=r"'SERIALISABLE' is no isolation level of this database; it has .*SERIALIZABLE"
        ):
            async with ShopUnitOfWork(async_shop.database, isolation_level="SERIALISABLE"):
                pass

        assert (
            await outcome_of(async_shop.unit(isolation_level="SERIALIZABLE"), ShopUnitOfWork.flush) is Outcome.COMMITTED
        )
        await assert_sound(async_shop)

    async def test_a_session_is_never_in_autocommit(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(UnitOfWorkError, match="cannot be set to AUTOCOMMIT"):
                await uow.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            with pytest.raises(RolledBackError):
                await add_item(uow, "tea")

        assert await outcome_of(async_shop.unit(), work) is Outcome.ROLLED_BACK
        assert await async_shop.names() == []
        await assert_sound(async_shop)

    async def test_nor_is_one_of_a_database_that_is(self, async_shop: Shop) -> None:
        options = {"isolation_level": "AUTOCOMMIT"}
        async with database_at(async_shop.database.url, execution_options=options) as database:
            with pytest.raises(UnitOfWorkError, match="AUTOCOMMIT"):
                async with ShopUnitOfWork(database) as uow:
                    await add_item(uow, "tea")

        assert await async_shop.names() == []

    @pytest.mark.parametrize("async_shop", ON_SERVERS, indirect=True, ids=str)
    async def test_a_stray_that_goes_on_with_something_else_is_not_waited_for(self, async_shop: Shop) -> None:
        is_over = asyncio.Event()

        async def query_and_wait(uow: ShopUnitOfWork) -> None:
            try:
                await uow.session.execute(slow_query(async_shop.backend.server))
            except asyncio.CancelledError:
                await is_over.wait()

        async def leave_a_child() -> None:
            async with async_shop.unit() as uow:
                children.append(asyncio.create_task(query_and_wait(uow)))
                await asyncio.sleep(0.05)

        children: list[asyncio.Task[None]] = []
        async with asyncio.timeout(10):
            with pytest.raises(ConcurrentUseError):
                await leave_a_child()
        is_over.set()
        await children[0]
        await assert_sound(async_shop)

    async def test_an_inner_unit_that_only_adds_does_not_wait_for_the_outer_one(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as outer:
            await add_item(outer, "tea")
            with pytest.raises(UnitOfWorkError, match="SQLite has one writer"):
                async with sqlite_shop.unit() as inner:
                    inner.session.add(Item(name="coffee", price=1))

        assert await sqlite_shop.names() == ["tea"]

    async def test_a_joined_block_is_driven_without_an_event_loop_too(self, shop: Shop) -> None:
        async def add_in_a_joined_block(uow: ShopUnitOfWork) -> None:
            async with uow:
                await add_item(uow, "tea")

        await shop.run(add_in_a_joined_block)

        assert await shop.names() == ["tea"]


def _cancel_later(task: asyncio.Task[Any] | None, ticks: int) -> None:
    assert task is not None
    if ticks:
        asyncio.get_running_loop().call_soon(_cancel_later, task, ticks - 1)
    else:
        task.cancel()
