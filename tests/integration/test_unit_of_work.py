from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from typing import Any, ClassVar

import pytest
from sqlalchemy import insert, text

from layered_backend import (
    BaseRepository,
    ConcurrentUseError,
    Database,
    FinishedError,
    InvalidDataError,
    Outcome,
    ReadOnlyError,
    RolledBackError,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
)
from tests.databases import ASYNC_BACKENDS, Shop
from tests.shop import Base, Category, Item, ItemRepository, ShopUnitOfWork


async def _names(shop: Shop) -> list[str]:
    return [item.name for item in await shop.run(lambda uow: uow.items.list())]


async def _add(uow: ShopUnitOfWork, name: str) -> Item:
    return await uow.items.create({"name": name, "price": 1})


async def _violate(uow: ShopUnitOfWork) -> None:
    """Run a statement that fails, past the session's own bookkeeping."""
    await uow.session.execute(insert(Item).values(name="tea", price=1))


async def _flush_and_violate(uow: ShopUnitOfWork) -> None:
    """Run a flush that fails, which SQLAlchemy undoes at once."""
    await _add(uow, "tea")


class TestTheBlock:
    async def test_commits_when_the_block_ends(self, shop: Shop) -> None:
        units: list[ShopUnitOfWork] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await _add(uow, "tea")
            assert uow.outcome is Outcome.OPEN

        await shop.run(work)

        assert units[0].outcome is Outcome.COMMITTED
        assert await _names(shop) == ["tea"]

    async def test_rolls_back_when_the_block_raises(self, shop: Shop) -> None:
        units: list[ShopUnitOfWork] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await _add(uow, "tea")
            raise KeyError("of the application")

        with pytest.raises(KeyError):
            await shop.run(work)

        assert units[0].outcome is Outcome.ROLLED_BACK
        assert await _names(shop) == []

    async def test_pending_changes_are_flushed_before_the_commit(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Item(name="tea", price=1))

        await shop.run(work)

        assert await _names(shop) == ["tea"]

    async def test_a_flush_that_fails_at_the_end_rolls_back(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Category(name="food"))
            await uow.flush()
            uow.session.add_all([Category(name="drinks"), Category(name="drinks")])

        with pytest.raises(UniqueViolationError):
            await shop.run(work)

        assert await shop.run(lambda uow: uow.categories.count()) == 0

    async def test_takes_no_connection_before_the_first_statement(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            assert uow.items.model is Item
            assert shop.checked_out == 0
            await uow.items.count()
            assert shop.checked_out == 1

        await shop.run(work)

        assert shop.checked_out == 0

    async def test_an_empty_block_is_committed_and_a_raising_one_rolled_back(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as empty:
            pass
        raising = sqlite_shop.unit()
        with pytest.raises(KeyError):
            async with raising:
                raise KeyError

        assert empty.outcome is Outcome.COMMITTED
        assert raising.outcome is Outcome.ROLLED_BACK
        assert repr(empty) == "<ShopUnitOfWork committed>"

    async def test_entities_stay_readable_after_the_commit(self, shop: Shop) -> None:
        item = await shop.run(lambda uow: _add(uow, "tea"))

        assert item.id > 0
        assert (item.name, item.color) == ("tea", "white")
        assert item.updated_at.utcoffset() is not None

    async def test_it_cannot_be_entered_twice_one_after_the_other(self, shop: Shop) -> None:
        unit = shop.unit()
        async with sqlite_or_async(unit, shop):
            pass

        with pytest.raises(FinishedError, match="entered once"):
            async with sqlite_or_async(unit, shop):
                pass

    async def test_what_belongs_to_a_finished_one_says_so(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            items = uow.items
            await items.count()

        for use in (items.count(), items.get(1), items.create({"name": "tea", "price": 1}), uow.items.list()):
            with pytest.raises(FinishedError, match="has ended; open a new one"):
                await use
        with pytest.raises(FinishedError):
            items.session.add(Item(name="tea", price=1))
        with pytest.raises(FinishedError):
            _ = uow.categories
        assert async_shop.checked_out == 0

    async def test_before_it_is_entered_it_says_what_to_write(self, sqlite_shop: Shop) -> None:
        unit = sqlite_shop.unit()

        with pytest.raises(UnitOfWorkError, match="async with ShopUnitOfWork"):
            _ = unit.session
        with pytest.raises(UnitOfWorkError, match="nothing is open yet"):
            _ = unit.items

    def test_without_a_database_it_says_where_to_name_one(self) -> None:
        with pytest.raises(UnitOfWorkError, match=r"ShopUnitOfWork has no database; write `database = \.\.\.`"):
            ShopUnitOfWork()

    async def test_the_actor_is_kept(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit(actor="ada") as uow:
            assert uow.actor == "ada"

    async def test_a_block_that_catches_its_own_cancellation_is_not_cut_in_two(self, async_shop: Shop) -> None:
        async def save() -> None:
            async with async_shop.unit() as uow:
                await _add(uow, "tea")
                await _add(uow, "coffee")

        for ticks in range(12):
            task = asyncio.create_task(save())
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            names = await _names(async_shop)
            assert names in ([], ["tea", "coffee"])
            if names:
                break


def sqlite_or_async(unit: ShopUnitOfWork, shop: Shop) -> Any:
    """Return *unit*, as `async with` for either kind of backend."""
    return unit if shop.backend.asynchronous else _InThread(unit)


class _InThread:
    def __init__(self, unit: ShopUnitOfWork) -> None:
        self._unit = unit

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self._unit.__enter__)

    async def __aexit__(self, *error: Any) -> None:
        await asyncio.to_thread(self._unit.__exit__, *error)


class TestSwallowedErrors:
    async def test_a_swallowed_error_refuses_the_commit(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))
        units: list[ShopUnitOfWork] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await _add(uow, "coffee")
            with pytest.raises(UniqueViolationError):
                await _violate(uow)

        with pytest.raises(RolledBackError, match=r"UniqueViolationError on items\.name was caught") as caught:
            await shop.run(work)

        assert isinstance(caught.value.__cause__, UniqueViolationError)
        assert units[0].outcome is Outcome.ROLLED_BACK
        assert await _names(shop) == ["tea"]

    async def test_a_swallowed_flush_refuses_what_follows_and_the_commit(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(UniqueViolationError):
                await _add(uow, "tea")
            with pytest.raises(RolledBackError):
                await uow.items.count()

        with pytest.raises(RolledBackError) as caught:
            await shop.run(work)

        assert isinstance(caught.value.__cause__, UniqueViolationError)

    async def test_an_error_of_the_connection_itself_is_remembered(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            connection = await uow.session.run_sync(lambda session: session.connection())
            with pytest.raises(UniqueViolationError):
                await uow.session.run_sync(lambda _: connection.execute(insert(Item).values(name="tea", price=1)))

        with pytest.raises(RolledBackError):
            await shop.run(work)

    async def test_rollback_lets_the_block_go_on(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            await _add(uow, "coffee")
            with pytest.raises(UniqueViolationError):
                await _violate(uow)
            await uow.rollback()
            seen.append(uow.outcome)
            await _add(uow, "cocoa")
            seen.append(uow.outcome)

        seen: list[Outcome] = []
        await shop.run(work)

        assert await _names(shop) == ["tea", "cocoa"]
        assert seen == [Outcome.ROLLED_BACK, Outcome.OPEN]

    async def test_a_mistake_found_before_the_database_harms_nothing(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _add(uow, "tea")
            with pytest.raises(Exception, match="bind parameter 'missing'"):
                await uow.session.execute(text("SELECT :missing"), {})

        await shop.run(work)

        assert await _names(shop) == ["tea"]

    async def test_a_value_that_does_not_fit_is_the_cause_too(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(InvalidDataError):
                await uow.items.create({"name": "tea", "price": "much"})

        async def inside_a_savepoint(uow: ShopUnitOfWork) -> None:
            with pytest.raises(RolledBackError, match="InvalidDataError was caught inside a savepoint"):
                async with uow.savepoint():
                    await work(uow)
            await _add(uow, "coffee")

        with pytest.raises(RolledBackError, match="InvalidDataError was caught") as caught:
            await shop.run(work)
        await shop.run(inside_a_savepoint)

        assert isinstance(caught.value.__cause__, InvalidDataError)
        assert await _names(shop) == ["coffee"]


class TestLazyLoads:
    async def test_an_attribute_that_is_not_loaded_is_an_error_with_and_without_an_event_loop(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await uow.items.create({"name": "tea", "price": 1, "category": Category(name="drinks")})
            await uow.flush()
            uow.session.expire(item)
            with pytest.raises(UnitOfWorkError, match="load it with the query"):
                _ = item.category
            await uow.session.refresh(item)
            assert item.name == "tea"

        await shop.run(work)

        assert await _names(shop) == ["tea"]

    async def test_an_entity_after_a_rollback_is_refused_without_harm(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await _add(uow, "tea")
            await uow.commit()
            await uow.items.count()
            await uow.rollback()
            with pytest.raises(UnitOfWorkError, match="expired by a rollback"):
                _ = item.name
            assert await uow.items.count() == 1

        await shop.run(work)


class TestSavepoints:
    async def test_only_the_part_inside_is_undone(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _add(uow, "tea")
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    await _add(uow, "cocoa")
                    await _add(uow, "tea")
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    await _violate(uow)
            async with uow.savepoint():
                await _add(uow, "coffee")

        await shop.run(work)

        assert await _names(shop) == ["tea", "coffee"]

    async def test_savepoints_nest(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                await _add(uow, "tea")
                with pytest.raises(KeyError):
                    async with uow.savepoint():
                        await _add(uow, "coffee")
                        raise KeyError
                await _add(uow, "cocoa")

        await shop.run(work)

        assert await _names(shop) == ["tea", "cocoa"]

    async def test_pending_changes_from_before_are_kept(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Item(name="tea", price=1))
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    raise KeyError

        await shop.run(work)

        assert await _names(shop) == ["tea"]

    @pytest.mark.parametrize("fail", [_violate, _flush_and_violate])
    async def test_an_error_swallowed_inside_undoes_the_savepoint_and_says_so(self, shop: Shop, fail: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _add(uow, "tea")
            with pytest.raises(RolledBackError, match="caught inside a savepoint") as caught:
                async with uow.savepoint():
                    await _add(uow, "coffee")
                    with pytest.raises(UniqueViolationError):
                        await fail(uow)
            assert isinstance(caught.value.__cause__, UniqueViolationError)
            await _add(uow, "cocoa")

        await shop.run(work)

        assert await _names(shop) == ["tea", "cocoa"]

    async def test_an_earlier_error_is_still_refused_after_a_savepoint(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                await _add(uow, "coffee")
            with pytest.raises(UniqueViolationError):
                await _violate(uow)
            with pytest.raises(Exception):  # noqa: B017, PT011  # PostgreSQL refuses the savepoint already
                async with uow.savepoint():
                    raise KeyError

        with pytest.raises(RolledBackError) as caught:
            await shop.run(work)

        assert isinstance(caught.value.__cause__, UniqueViolationError)
        assert await _names(shop) == ["tea"]

    async def test_sqlalchemys_own_savepoints_count_too(self, async_shop: Shop) -> None:
        await async_shop.run(lambda uow: _add(uow, "tea"))

        async with async_shop.unit() as uow:
            with pytest.raises(UniqueViolationError):
                async with uow.session.begin_nested():
                    await _violate(uow)
            await _add(uow, "coffee")

        assert await _names(async_shop) == ["tea", "coffee"]

    def test_with_drives_a_savepoint(self, tmp_path: Any) -> None:
        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
            database.create_all_sync(Base.metadata)
            with ShopUnitOfWork(database) as uow:
                with pytest.raises(UniqueViolationError), uow.savepoint():
                    uow.run(_add(uow, "tea"))
                    uow.run(_violate(uow))
                with uow.savepoint():
                    uow.run(_add(uow, "coffee"))
            with ShopUnitOfWork(database) as uow:
                assert [item.name for item in uow.run(uow.items.list())] == ["coffee"]

    async def test_with_under_async_with_says_what_to_write(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            with pytest.raises(UnitOfWorkError, match=r"async with uow\.savepoint"), uow.savepoint():
                pass


class TestCommitInMidBlock:
    async def test_what_came_before_is_saved_and_the_rest_is_another_transaction(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await _add(uow, "tea")
            await uow.commit()
            seen.append(uow.outcome)
            await _add(uow, "coffee")
            seen.append(uow.outcome)
            raise KeyError

        seen: list[Outcome] = []
        with pytest.raises(KeyError):
            await shop.run(work)

        assert seen == [Outcome.COMMITTED, Outcome.OPEN]
        assert await _names(shop) == ["tea"]

    async def test_it_is_refused_where_work_around_it_is_not_ready(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                with pytest.raises(UnitOfWorkError, match="inside a savepoint"):
                    await uow.commit()
                with pytest.raises(UnitOfWorkError, match="inside a savepoint"):
                    await uow.rollback()

        await shop.run(work)

    async def test_it_is_refused_after_a_swallowed_error(self, shop: Shop) -> None:
        await shop.run(lambda uow: _add(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(UniqueViolationError):
                await _violate(uow)
            await uow.commit()

        with pytest.raises(RolledBackError):
            await shop.run(work)

    @pytest.mark.parametrize("verb", ["begin", "commit", "rollback", "close", "reset", "invalidate"])
    async def test_the_session_itself_ends_nothing(self, sqlite_shop: Shop, verb: str) -> None:
        async with sqlite_shop.unit() as uow:
            await _add(uow, "tea")
            with pytest.raises(UnitOfWorkError, match=rf"session\.{verb}\(\) would go past the unit of work"):
                await getattr(uow.session, verb)()

        assert await _names(sqlite_shop) == ["tea"]


class TestJoining:
    async def test_the_same_object_joins(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            async with uow as same:
                assert same is uow
                await _add(uow, "tea")
            assert uow.outcome is Outcome.OPEN
            with pytest.raises(UnitOfWorkError, match="joined block"):
                async with uow:
                    await uow.commit()
            await uow.rollback()
            await _add(uow, "coffee")

        assert await _names(async_shop) == ["coffee"]

    async def test_a_joined_block_that_fails_is_not_forgotten(self, async_shop: Shop) -> None:
        async def swallow() -> None:
            async with async_shop.unit() as uow:
                await _add(uow, "tea")
                with pytest.raises(KeyError):
                    async with uow:
                        raise KeyError

        with pytest.raises(RolledBackError, match="KeyError was caught") as caught:
            await swallow()

        assert isinstance(caught.value.__cause__, KeyError)
        assert await _names(async_shop) == []

    @pytest.mark.parametrize("async_shop", ASYNC_BACKENDS[1:], indirect=True, ids=str)  # SQLite has one writer
    async def test_another_object_is_another_transaction(self, async_shop: Shop) -> None:
        with pytest.raises(KeyError):
            async with async_shop.unit() as outer:
                await outer.categories.create({"name": "drinks"})
                async with async_shop.unit() as inner:
                    await _add(inner, "tea")
                raise KeyError

        assert await _names(async_shop) == ["tea"]
        assert await async_shop.run(lambda uow: uow.categories.count()) == 0

    async def test_a_second_writer_of_sqlite_in_the_same_task_is_refused_at_once(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as outer:
            async with sqlite_shop.unit() as early:
                await early.items.count()
            await _add(outer, "tea")
            async with sqlite_shop.unit() as inner, sqlite_shop.unit(read_only=True) as reader:
                with pytest.raises(UnitOfWorkError, match="SQLite has one writer"):
                    await inner.items.count()
                assert await reader.items.count() == 0

        assert await _names(sqlite_shop) == ["tea"]

    async def test_another_task_cannot_join(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:

            async def join() -> None:
                async with uow:
                    pass

            with pytest.raises(ConcurrentUseError, match="only by the task that opened it"):
                await asyncio.create_task(join())


class TestConcurrentUse:
    async def test_two_tasks_at_once_are_refused_by_name(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            await uow.items.count()
            first = asyncio.create_task(uow.items.count(), name="reader one")
            second = asyncio.create_task(uow.items.count(), name="reader two")
            results = await asyncio.gather(first, second, return_exceptions=True)

        assert results[0] == 0
        assert isinstance(results[1], ConcurrentUseError)
        assert "'reader two' used a unit of work in which task 'reader one'" in str(results[1])

    async def test_a_child_still_at_work_when_the_block_ends_is_stopped(self, async_shop: Shop) -> None:
        children: list[asyncio.Task[int]] = []

        async def leave_a_child() -> None:
            async with async_shop.unit() as uow:
                await _add(uow, "tea")
                children.append(asyncio.create_task(uow.items.count(), name="stray"))
                await asyncio.sleep(0)

        with pytest.raises(ConcurrentUseError, match="the block ended while task 'stray' had a call under way"):
            await leave_a_child()

        assert children[0].cancelled()
        assert await _names(async_shop) == []


class TestHooks:
    async def test_hooks_run_in_order_after_the_commit(self, shop: Shop) -> None:
        seen: list[object] = []

        async def work(uow: ShopUnitOfWork) -> None:
            async def asynchronous() -> None:
                seen.append(("second", shop.checked_out, uow.outcome))

            uow.on_commit(lambda: seen.append(("first", shop.checked_out, uow.outcome)))
            uow.on_commit(asynchronous)
            await _add(uow, "tea")
            assert seen == []

        await shop.run(work)

        assert seen == [("first", 0, Outcome.COMMITTED), ("second", 0, Outcome.COMMITTED)]

    async def test_hooks_of_an_empty_unit_of_work_run_too(self, shop: Shop) -> None:
        seen: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            uow.on_commit(lambda: seen.append(1))

        await shop.run(work)

        assert seen == [1]

    async def test_hooks_do_not_run_after_a_rollback(self, shop: Shop) -> None:
        seen: list[str] = []

        async def raising(uow: ShopUnitOfWork) -> None:
            uow.on_commit(lambda: seen.append("raised"))
            raise KeyError

        async def rolled_back(uow: ShopUnitOfWork) -> None:
            uow.on_commit(lambda: seen.append("rolled back"))
            await uow.rollback()
            uow.on_commit(lambda: seen.append("kept"))

        with pytest.raises(KeyError):
            await shop.run(raising)
        await shop.run(rolled_back)

        assert seen == ["kept"]

    async def test_hooks_of_a_savepoint_share_its_fate(self, shop: Shop) -> None:
        seen: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                uow.on_commit(lambda: seen.append("released"))
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    uow.on_commit(lambda: seen.append("undone"))
                    raise KeyError

        await shop.run(work)

        assert seen == ["released"]

    async def test_a_hook_that_raises_is_logged_and_harms_nothing(
        self, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            async def broken() -> None:
                raise KeyError("of the hook")

            uow.on_commit(broken)
            uow.on_commit(lambda: seen.append("next"))
            await _add(uow, "tea")

        with caplog.at_level(logging.ERROR, "layered_backend"):
            await shop.run(work)

        assert seen == ["next"]
        assert "the commit stands" in caplog.text
        assert await _names(shop) == ["tea"]

    async def test_a_hook_that_waits_for_a_cancelled_task_stops_nothing(self, async_shop: Shop) -> None:
        seen: list[str] = []

        async def wait_for_a_cancelled_task() -> None:
            task = asyncio.create_task(asyncio.sleep(10))
            task.cancel()
            await task

        async with async_shop.unit() as uow:
            uow.on_commit(wait_for_a_cancelled_task)
            uow.on_commit(lambda: seen.append("next"))
            await _add(uow, "tea")

        assert seen == ["next"]

    async def test_commit_in_mid_block_runs_the_hooks_once(self, shop: Shop) -> None:
        seen: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            uow.on_commit(lambda: seen.append("first"))
            await _add(uow, "tea")
            await uow.commit()
            assert seen == ["first"]
            uow.on_commit(lambda: seen.append("second"))

        await shop.run(work)

        assert seen == ["first", "second"]


class TestReadOnly:
    async def test_reads_work_and_writes_are_refused(self, shop: Shop) -> None:
        item = await shop.run(lambda uow: _add(uow, "tea"))

        assert await shop.run(lambda uow: uow.items.count(), read_only=True) == 1
        with pytest.raises(ReadOnlyError, match="read-only"):
            await shop.run(lambda uow: _add(uow, "coffee"), read_only=True)

        for _ in range(3):  # whichever pooled connection comes next can write
            await shop.run(lambda uow: uow.items.update(item.id, {"note": "again"}))
        assert await _names(shop) == ["tea"]


class _LoudItems(ItemRepository):
    pass


class _LoudUnitOfWork(ShopUnitOfWork):
    items: _LoudItems  # pyright: ignore[reportIncompatibleVariableOverride]  # a narrower one


class TestRepositories:
    async def test_each_is_built_once(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            assert uow.items is uow.items
            assert isinstance(uow.items, ItemRepository)
            assert uow.stocks.model.__name__ == "Stock"
            assert uow.repository(ItemRepository) is uow.repository(ItemRepository)
            plain = uow.repository(BaseRepository[Item])
            assert plain.model is Item
            assert uow.repository(BaseRepository[Item]) is plain

    async def test_they_are_inherited_and_may_be_replaced(self, sqlite_shop: Shop) -> None:
        async with _LoudUnitOfWork(sqlite_shop.database) as loud, sqlite_shop.unit() as plain:
            assert type(loud.items) is _LoudItems
            assert type(loud.categories) is type(plain.categories)
            assert type(plain.items) is ItemRepository

    def test_a_name_of_the_unit_of_work_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"Clash\.session: a unit of work already has 'session'"):

            class Clash(UnitOfWork):  # pyright: ignore[reportUnusedClass]
                session: ItemRepository  # type: ignore[assignment]  # pyright: ignore  # what is tested

    async def test_values_class_variables_and_private_names_are_left_alone(self, sqlite_shop: Shop) -> None:
        class Other(UnitOfWork):
            limit: int = 3
            table: ClassVar[str]
            _cache: dict[str, int]
            actor: str

        assert not {"limit", "table", "_cache"} & {
            name for name, value in vars(Other).items() if type(value).__name__ == "RepositoryAttribute"
        }
        assert Other(sqlite_shop.database, actor="ada").actor == "ada"

    async def test_an_annotation_that_is_no_repository_says_what_to_do(self, sqlite_shop: Shop) -> None:
        class Other(UnitOfWork):
            tenant: int

        async with Other(sqlite_shop.database) as uow:
            with pytest.raises(UnitOfWorkError, match=r"Other\.tenant is annotated .* not a repository"):
                _ = uow.tenant

    async def test_an_unresolvable_name_says_which_import_to_add(self, sqlite_shop: Shop) -> None:
        class Other(UnitOfWork):
            lost: LostRepository  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore
            items: ItemRepository

        async with Other(sqlite_shop.database) as uow:
            assert await uow.items.count() == 0, "the others work"
            with pytest.raises(
                UnitOfWorkError, match=r"'LostRepository' is not defined in .*test_unit_of_work; import"
            ):
                _ = uow.lost  # pyright: ignore


class TestWith:
    def test_it_runs_coroutines_without_an_event_loop(self, tmp_path: Any) -> None:
        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
            database.create_all_sync(Base.metadata)
            with ShopUnitOfWork(database) as uow, uow as same:
                assert same is uow
                uow.run(_add(uow, "tea"))
            assert uow.outcome is Outcome.COMMITTED
            with ShopUnitOfWork(database) as uow:
                assert list(uow.iterate(_stream(uow))) == ["tea"]

    def test_an_await_of_something_else_says_so(self, tmp_path: Any) -> None:
        with (
            Database(f"sqlite:///{tmp_path / 'shop.db'}") as database,
            ShopUnitOfWork(database) as uow,
            pytest.raises(UnitOfWorkError, match="sleep awaits something other than the database"),
        ):
            uow.run(_sleep())

    async def test_it_is_refused_in_a_running_event_loop(self, sqlite_shop: Shop) -> None:
        with pytest.raises(UnitOfWorkError, match="write `async with`"), sqlite_shop.unit():
            pass

    async def test_run_is_refused_under_async_with(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            with pytest.raises(UnitOfWorkError, match=r"run\(\) belongs to `with`"):
                uow.run(uow.items.count())

    async def test_use_from_a_thread_under_async_with_says_what_to_write(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            with pytest.raises(UnitOfWorkError, match="write `async def` instead of `def`"):
                await asyncio.to_thread(uow.session.add, Item(name="tea", price=1))

    def test_two_threads_at_once_are_refused(self, tmp_path: Any) -> None:
        errors: list[BaseException] = []
        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database, ShopUnitOfWork(database) as uow:

            def join() -> None:
                try:
                    with uow:
                        pass
                except ConcurrentUseError as error:
                    errors.append(error)

            thread = threading.Thread(target=join)
            thread.start()
            thread.join()

        assert len(errors) == 1


async def _stream(uow: ShopUnitOfWork) -> AsyncGenerator[str]:
    for item in await uow.items.list():
        yield item.name


async def _sleep() -> None:
    await asyncio.sleep(0.01)


def test_a_generic_alias_gives_its_model(tmp_path: Any) -> None:
    class Plain(UnitOfWork):
        items: BaseRepository[Item]

    with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database, Plain(database) as uow:
        assert uow.items.model is Item
