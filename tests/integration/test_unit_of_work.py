from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any, ClassVar, cast

import pytest
from sqlalchemy import literal, select
from sqlalchemy.orm import defer

from layered_backend import (
    BaseRepository,
    ConcurrentUseError,
    Database,
    FinishedError,
    Outcome,
    ReadOnlyError,
    RolledBackError,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
)
from tests.databases import ASYNC_BACKENDS, Shop
from tests.shop import Base, Category, Item, ItemRepository, ShopUnitOfWork, add_item, violate


async def _flush_and_violate(uow: ShopUnitOfWork) -> None:
    """Run a flush that fails, which SQLAlchemy undoes at once."""
    await add_item(uow, "tea")


class TestTheBlock:
    async def test_commits_when_the_block_ends(self, shop: Shop) -> None:
        units: list[ShopUnitOfWork] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await add_item(uow, "tea")
            assert uow.outcome is Outcome.OPEN

        await shop.run(work)

        assert units[0].outcome is Outcome.COMMITTED
        assert await shop.names() == ["tea"]

    async def test_rolls_back_when_the_block_raises(self, shop: Shop) -> None:
        units: list[ShopUnitOfWork] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await add_item(uow, "tea")
            raise KeyError("of the application")

        with pytest.raises(KeyError):
            await shop.run(work)

        assert units[0].outcome is Outcome.ROLLED_BACK
        assert await shop.names() == []

    async def test_pending_changes_are_flushed_before_the_commit(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Item(name="tea", price=1))

        await shop.run(work)

        assert await shop.names() == ["tea"]

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
            await uow.items.list()
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
        item = await shop.run(lambda uow: add_item(uow, "tea"))

        assert item.id > 0
        assert (item.name, item.color) == ("tea", "white")
        assert item.updated_at.utcoffset() is not None

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


class TestLazyLoads:
    async def test_an_attribute_that_is_not_loaded_is_an_error_with_and_without_an_event_loop(self, shop: Shop) -> None:
        async def add(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "tea", "price": 1, "category": Category(name="drinks")})

        async def work(uow: ShopUnitOfWork) -> None:
            item = await uow.items.one()  # whose category is not in the session, and cannot be found there
            with pytest.raises(
                UnitOfWorkError, match=r"^Item\.category is not loaded: add options=\[selectinload\(Item\.category\)\]"
            ):
                _ = item.category
            assert item.name == "tea"
            drinks = await uow.categories.one()
            uow.session.expire(drinks, ["items"])
            with pytest.raises(UnitOfWorkError, match=r"^Category\.items is not loaded"):
                _ = drinks.items
            assert await uow.session.run_sync(lambda _: drinks.items) == [item]

        await shop.run(add)
        await shop.run(work)

        assert await shop.names() == ["tea"]

    async def test_what_was_expired_is_named_with_its_reason(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            uow.session.expire(item, ["category"])
            item.price = cast("Any", Item.price + 1)
            await uow.session.flush()
            with pytest.raises(
                UnitOfWorkError, match=r"^Item\.price is not loaded, because the database computes it; read"
            ):
                _ = item.price
            await uow.session.refresh(item, ["category", "price"])
            uow.session.expire(item, ["name"])
            with pytest.raises(
                UnitOfWorkError, match=r"^Item\.name is not loaded, because session\.expire\(\) was called"
            ):
                _ = item.name
            uow.session.expire(item, ["name", "note"])
            with pytest.raises(
                UnitOfWorkError, match=r"^Item\.name or Item\.note is not loaded, because session\.expire"
            ):
                _ = item.name
            uow.session.expire_all()
            with pytest.raises(
                UnitOfWorkError,
                match=r"^Item has an attribute that is not loaded, because Item expired when session\.expire\(\) was called; read",
            ):
                _ = item.name

        await shop.run(work)

    async def test_what_a_query_has_left_out_is_named_with_its_option(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await uow.items.one(options=[defer(Item.note)])
            with pytest.raises(
                UnitOfWorkError,
                match=r"^Item\.note is not loaded, because the query has left it out: add options=\[undefer\(Item\.note\)\]",
            ):
                _ = item.note

        await shop.run(lambda uow: add_item(uow, "tea"))
        await shop.run(work)

    async def test_a_savepoint_that_was_rolled_back_is_the_reason_of_what_it_has_expired(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            with pytest.raises(LookupError):
                async with uow.savepoint():
                    await uow.items.update(item, {"name": "coffee"})
                    raise LookupError
            with pytest.raises(UnitOfWorkError, match=r"because Item expired when a savepoint was rolled back; read"):
                _ = item.name

        await shop.run(work)

    async def test_an_entity_after_a_rollback_is_refused_without_harm(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            await uow.commit()
            await uow.items.count()
            await uow.rollback()
            with pytest.raises(UnitOfWorkError, match="expired when the unit of work was rolled back"):
                _ = item.name
            assert await uow.items.count() == 1

        await shop.run(work)


class TestLookingAtTheSession:
    async def test_the_engine_can_be_read(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            assert uow.session.bind.dialect.name == async_shop.database.url.get_backend_name()
            async with uow.session.bind.connect() as connection:
                assert await connection.scalar(select(literal(1))) == 1
            with pytest.raises(UnitOfWorkError, match=r"session\.bind"):
                uow.session.bind = async_shop.database.engine

    async def test_the_transaction_can_be_read_and_not_ended(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            assert uow.session.get_transaction() is None
            await add_item(uow, "tea")
            transaction = uow.session.get_transaction()
            assert transaction is not None
            assert transaction.is_active
            assert not transaction.nested
            assert uow.session.get_nested_transaction() is None
            for end in (transaction.commit, transaction.rollback):
                with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
                    await end()
            async with uow.savepoint():
                nested = uow.session.get_nested_transaction()
                assert nested is not None
                assert nested.nested
                with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
                    await nested.rollback()
        assert await async_shop.names() == ["tea"]

    async def test_the_synchronous_transaction_can_be_read_and_not_ended(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            transaction = uow.session.sync_session.get_transaction()
            assert transaction is not None
            assert transaction.is_active
            assert transaction.parent is None
            assert transaction.session is uow.session.sync_session
            for end in (transaction.commit, transaction.rollback, transaction.close, transaction.prepare):
                with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
                    end()
            with pytest.raises(UnitOfWorkError, match="would go past the unit of work"), transaction:
                pytest.fail("it was entered")
            async with uow.savepoint():
                nested = uow.session.sync_session.get_nested_transaction()
                assert nested is not None
                assert nested.parent is not None
                with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
                    nested.parent.rollback()

        await shop.run(work)

        assert await shop.names() == ["tea"]


class TestSavepoints:
    async def test_only_the_part_inside_is_undone(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    await add_item(uow, "cocoa")
                    await add_item(uow, "tea")
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    await violate(uow)
            async with uow.savepoint():
                await add_item(uow, "coffee")

        await shop.run(work)

        assert await shop.names() == ["tea", "coffee"]

    async def test_an_error_after_an_inner_savepoint_is_undone_by_the_outer_one(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(UniqueViolationError):
                async with uow.savepoint():
                    async with uow.savepoint():
                        await add_item(uow, "tea")
                    await violate(uow)
            async with uow.savepoint():
                await add_item(uow, "salt")

        await shop.run(work)

        assert await shop.names() == ["salt"]

    async def test_savepoints_nest(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                await add_item(uow, "tea")
                with pytest.raises(KeyError):
                    async with uow.savepoint():
                        await add_item(uow, "coffee")
                        raise KeyError
                await add_item(uow, "cocoa")

        await shop.run(work)

        assert await shop.names() == ["tea", "cocoa"]

    async def test_pending_changes_from_before_are_kept(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            uow.session.add(Item(name="tea", price=1))
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    raise KeyError

        await shop.run(work)

        assert await shop.names() == ["tea"]

    @pytest.mark.parametrize("fail", [violate, _flush_and_violate])
    async def test_an_error_swallowed_inside_undoes_the_savepoint_and_says_so(self, shop: Shop, fail: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            with pytest.raises(RolledBackError, match="caught inside a savepoint") as caught:
                async with uow.savepoint():
                    await add_item(uow, "coffee")
                    with pytest.raises(UniqueViolationError):
                        await fail(uow)
            assert isinstance(caught.value.__cause__, UniqueViolationError)
            await add_item(uow, "cocoa")

        await shop.run(work)

        assert await shop.names() == ["tea", "cocoa"]

    async def test_sqlalchemys_own_savepoints_count_too(self, async_shop: Shop) -> None:
        await async_shop.run(lambda uow: add_item(uow, "tea"))

        async with async_shop.unit() as uow:
            with pytest.raises(UniqueViolationError):
                async with uow.session.begin_nested():
                    await violate(uow)
            await add_item(uow, "coffee")

        assert await async_shop.names() == ["tea", "coffee"]

    def test_with_drives_a_savepoint(self, tmp_path: Any) -> None:
        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
            database.create_all_sync(Base.metadata)
            with ShopUnitOfWork(database) as uow:
                with pytest.raises(UniqueViolationError), uow.savepoint():
                    uow.run(add_item(uow, "tea"))
                    uow.run(violate(uow))
                with uow.savepoint():
                    uow.run(add_item(uow, "coffee"))
            with ShopUnitOfWork(database) as uow:
                assert [item.name for item in uow.run(uow.items.list())] == ["coffee"]

    async def test_with_under_async_with_says_what_to_write(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            with pytest.raises(UnitOfWorkError, match=r"async with uow\.savepoint"), uow.savepoint():
                pass


class TestCommitInMidBlock:
    async def test_what_came_before_is_saved_and_the_rest_is_another_transaction(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "tea")
            await uow.commit()
            seen.append(uow.outcome)
            await add_item(uow, "coffee")
            seen.append(uow.outcome)
            raise KeyError

        seen: list[Outcome] = []
        with pytest.raises(KeyError):
            await shop.run(work)

        assert seen == [Outcome.COMMITTED, Outcome.OPEN]
        assert await shop.names() == ["tea"]

    async def test_it_is_refused_where_work_around_it_is_not_ready(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                with pytest.raises(UnitOfWorkError, match="inside a savepoint"):
                    await uow.commit()
                with pytest.raises(UnitOfWorkError, match="inside a savepoint"):
                    await uow.rollback()

        await shop.run(work)

    async def test_it_is_refused_after_a_swallowed_error(self, shop: Shop) -> None:
        await shop.run(lambda uow: add_item(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            with pytest.raises(UniqueViolationError):
                await violate(uow)
            await uow.commit()

        with pytest.raises(RolledBackError):
            await shop.run(work)

    @pytest.mark.parametrize("verb", ["begin", "commit", "rollback", "close", "reset", "invalidate"])
    async def test_the_session_itself_ends_nothing(self, sqlite_shop: Shop, verb: str) -> None:
        async with sqlite_shop.unit() as uow:
            await add_item(uow, "tea")
            with pytest.raises(UnitOfWorkError, match=rf"session\.{verb}\(\) would go past the unit of work"):
                await getattr(uow.session, verb)()

        assert await sqlite_shop.names() == ["tea"]


class TestJoining:
    async def test_the_same_object_joins(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:
            async with uow as same:
                assert same is uow
                await add_item(uow, "tea")
            assert uow.outcome is Outcome.OPEN
            with pytest.raises(UnitOfWorkError, match="joined block"):
                async with uow:
                    await uow.commit()
            await uow.rollback()
            await add_item(uow, "coffee")

        assert await async_shop.names() == ["coffee"]

    @pytest.mark.parametrize("async_shop", ASYNC_BACKENDS[1:], indirect=True, ids=str)  # SQLite has one writer
    async def test_another_object_is_another_transaction(self, async_shop: Shop) -> None:
        with pytest.raises(KeyError):
            async with async_shop.unit() as outer:
                await outer.categories.create({"name": "drinks"})
                async with async_shop.unit() as inner:
                    await add_item(inner, "tea")
                raise KeyError

        assert await async_shop.names() == ["tea"]
        assert await async_shop.run(lambda uow: uow.categories.count()) == 0

    async def test_a_second_writer_of_sqlite_in_the_same_task_is_refused_at_once(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as outer:
            async with sqlite_shop.unit() as early:
                await early.items.count()
            await add_item(outer, "tea")
            async with sqlite_shop.unit() as inner, sqlite_shop.unit(read_only=True) as reader:
                with pytest.raises(UnitOfWorkError, match="SQLite has one writer"):
                    await inner.items.count()
                assert await reader.items.count() == 0

        assert await sqlite_shop.names() == ["tea"]

    async def test_another_task_cannot_join(self, async_shop: Shop) -> None:
        async with async_shop.unit() as uow:

            async def join() -> None:
                async with uow:
                    pass

            with pytest.raises(ConcurrentUseError, match="only by the task that opened it"):
                await asyncio.create_task(join())


class TestReadOnly:
    async def test_reads_work_and_writes_are_refused(self, shop: Shop) -> None:
        item = await shop.run(lambda uow: add_item(uow, "tea"))

        assert await shop.run(lambda uow: uow.items.count(), read_only=True) == 1
        with pytest.raises(ReadOnlyError, match="read-only"):
            await shop.run(lambda uow: add_item(uow, "coffee"), read_only=True)

        for _ in range(3):  # whichever pooled connection comes next can write
            await shop.run(lambda uow: uow.items.update(item.id, {"note": "again"}))
        assert await shop.names() == ["tea"]


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

    async def test_an_unresolvable_name_says_which_import_toadd_item(self, sqlite_shop: Shop) -> None:
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
                uow.run(add_item(uow, "tea"))
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
