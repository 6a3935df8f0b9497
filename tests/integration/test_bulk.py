"""Many rows at a time, and one key for many writers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, true, update
from sqlalchemy.orm import selectinload

from layered_backend import (
    Database,
    InvalidDataError,
    Lock,
    LockTimeoutError,
    NotFoundError,
    PageParams,
    UniqueViolationError,
    UnknownFieldError,
)
from tests.databases import Shop, backends_of, database_at
from tests.shop import Category, Country, Item, ItemCreate, ShopUnitOfWork, add_item
from tests.statements import Statements

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


async def _prices(uow: ShopUnitOfWork) -> dict[str, Decimal]:
    return {item.name: item.price for item in await uow.items.list()}


class TestCreateMany:
    async def test_rows_come_from_any_iterable_a_batch_at_a_time(self, shop: Shop) -> None:
        taken = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal taken
            for number in range(2_500):
                taken += 1
                yield {"name": f"item {number}", "price": number}

        with Statements(shop) as statements:
            written = await shop.run(lambda uow: uow.items.create_many(rows()))

        assert written == taken == 2_500
        assert len(statements.sent) == 3, "one for each batch, and nothing else"
        assert await shop.run(lambda uow: uow.items.count()) == 2_500

    async def test_rows_come_from_an_asynchronous_iterable(self, shop: Shop) -> None:
        async def rows() -> AsyncGenerator[ItemCreate]:
            for name in ("tea", "coffee"):
                yield ItemCreate(name=name, price=Decimal(1))

        assert await shop.run(lambda uow: uow.items.create_many(rows())) == 2
        assert await shop.names() == ["tea", "coffee"]

    async def test_defaults_apply_and_one_transaction_has_one_stamp(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create_many([{"name": "tea", "price": 1}, {"name": "red", "price": 1, "color": "red"}])
            await uow.items.create_many(
                [{"name": "none", "price": 1, "color": None}, {"name": "old", "price": 1, "created_at": LONG_AGO}]
            )
            await uow.items.create({"name": "single", "price": 1})
            await uow.items.upsert({"name": "upserted", "price": 1}, on=Item.name)

        await shop.run(work)
        items = {item.name: item for item in await shop.run(lambda uow: uow.items.list())}

        assert [item.color for item in items.values()].count("red") == 1
        assert items["none"].color == items["tea"].color == "white"
        assert items["old"].created_at == items["old"].updated_at == LONG_AGO
        assert len({(item.created_at, item.updated_at) for name, item in items.items() if name != "old"}) == 1

    async def test_another_transaction_has_another_stamp(self, shop: Shop) -> None:
        first = await shop.run(lambda uow: add_item(uow, "first"))
        second = await shop.run(lambda uow: add_item(uow, "second"))

        assert first.created_at < second.created_at

    async def test_expressions_relationships_and_pending_entities_are_written_too(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            drinks = Category(id=77, name="drinks")
            uow.session.add(drinks)
            await uow.items.create_many(
                [{"name": "tea", "price": 1, "category": drinks}, {"name": func.upper("cocoa"), "price": 1}]
            )
            uow.session.add(Category(id=78, name="food"))
            await uow.items.create_many([{"name": "bread", "price": 1, "category_id": 78}])

        await shop.run(work)

        assert await shop.names() == ["tea", "COCOA", "bread"]

    async def test_what_the_database_or_the_model_refuses_is_raised(self, shop: Shop) -> None:
        with pytest.raises(UniqueViolationError) as caught:
            await shop.run(lambda uow: uow.items.create_many([{"name": "tea", "price": 1}] * 2))
        with pytest.raises(UnknownFieldError, match="did you mean 'price'"):
            await shop.run(lambda uow: uow.items.create_many([{"name": "tea", "prise": 1}]))

        assert caught.value.columns == ("name",)
        assert await shop.names() == []
        assert await shop.run(lambda uow: uow.items.create_many([])) == 0


class TestGetMany:
    async def test_entities_come_in_the_order_of_the_keys(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            ids = [(await add_item(uow, name)).id for name in ("a", "b", "c")]
            keys = [ids[2], 10**30, ids[0], ids[2], None, -5]
            assert [item.name for item in await uow.items.get_many(keys)] == ["c", "a"]
            assert list(await uow.items.get_many([])) == []

            for warehouse, code in (("north", 1), ("north", 2), ("south", 1)):
                await uow.stocks.create({"warehouse": warehouse, "item_code": code, "amount": code})
            stocks = await uow.stocks.get_many([("south", 1), ("south", 2), ("north", 2)])
            assert [(stock.warehouse, stock.item_code) for stock in stocks] == [("south", 1), ("north", 2)]

            plan = await uow.documents.create({"title": "plan"})
            assert [document.title for document in await uow.documents.get_many([str(plan.id), "no uuid"])] == ["plan"]
            await uow.countries.create_many([{"code": code, "name": code} for code in ("DE", "FR")])
            assert [country.code for country in await uow.countries.get_many(iter(["FR", "XX", "DE"]))] == ["FR", "DE"]

        await shop.run(work)

    async def test_more_keys_than_a_statement_takes_are_split(self, shop: Shop) -> None:
        limit = shop.database.dialect.keys.parameter_limit

        async def work(uow: ShopUnitOfWork) -> int:
            item = await add_item(uow, "a")
            return len(await uow.items.get_many([*range(item.id - limit - 5, item.id), item.id]))

        with Statements(shop) as statements:
            assert await shop.run(work) == 1
        assert len([statement for statement, _ in statements.sent if "SELECT" in statement]) == 2

    async def test_options_load_what_is_asked_for_of_many(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            category = await uow.categories.create({"name": "drinks"})
            await uow.items.create({"name": "tea", "price": 1, "category_id": category.id})
            uow.session.expunge_all()
            (again,) = await uow.categories.get_many([category.id], options=[selectinload(Category.items)])
            assert [item.name for item in again.items] == ["tea"]

        await shop.run(work)


class TestStream:
    async def test_all_rows_come_a_batch_at_a_time(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many({"name": f"{n:03}", "price": n} for n in range(250)))

        async def work(uow: ShopUnitOfWork) -> list[str]:
            stream = uow.items.stream(Item.price >= 5, order_by=Item.name.desc(), batch_size=100)
            return [item.name async for item in stream]

        assert await shop.run(work) == [f"{number:03}" for number in range(249, 4, -1)]

    async def test_entities_of_past_batches_are_let_go(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many({"name": f"{n:03}", "price": n} for n in range(250)))

        async def work(uow: ShopUnitOfWork) -> int:
            most = 0
            async for _ in uow.items.stream(batch_size=10):
                most = max(most, len(uow.session.identity_map))
            return most

        assert await shop.run(work) <= 21, "the batch that is read, and the one before"

    async def test_one_that_is_left_early_leaves_the_unit_of_work_usable(self, shop: Shop) -> None:
        await shop.run(lambda uow: uow.items.create_many({"name": f"{n:03}", "price": n} for n in range(250)))

        async def work(uow: ShopUnitOfWork) -> int:
            stream = uow.items.stream(batch_size=10)
            async for _ in stream:
                break
            await stream.aclose()
            return await uow.items.count()

        assert await shop.run(work) == 250

    async def test_it_is_iterated_without_an_event_loop(self, sqlite_shop: Shop) -> None:
        def work() -> list[str]:
            with sqlite_shop.unit() as uow:
                uow.run(uow.items.create_many([{"name": "tea", "price": 1}, {"name": "cocoa", "price": 1}]))
                return [item.name for item in uow.iterate(uow.items.stream())]

        assert await asyncio.to_thread(work) == ["tea", "cocoa"]


class TestWhere:
    async def test_rows_that_meet_the_criteria_are_changed_and_counted(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea, coffee = [await add_item(uow, name) for name in ("tea", "coffee")]
            drinks = await uow.categories.create({"name": "drinks"})
            await uow.items.list(options=[selectinload(Item.category)])

            assert (
                await uow.items.update_where(Item.name == "tea", values={"price": Item.price + 4, "note": "new"}) == 1
            )
            assert [str(tea.price), tea.note, str(coffee.price)] == ["5", "new", "1"], (
                "entities that are loaded know it"
            )
            assert await uow.items.update_where(true(), values={"category_id": drinks.id}) == 2
            assert (await uow.items.get(tea.id, options=[selectinload(Item.category)])).category is drinks
            assert await uow.items.update_where(Item.name == "milk", values={"price": 1}) == 0
            assert await uow.items.update_where(Item.name == "tea", values={}) == 1

        await shop.run(work)
        tea, coffee = await shop.run(lambda uow: uow.items.list())

        assert [tea.price, coffee.price] == [5, 1]
        assert tea.category_id == coffee.category_id is not None

    async def test_pending_changes_are_written_first_and_stamps_are_set(self, shop: Shop) -> None:
        old = await shop.run(lambda uow: add_item(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            tea = await uow.items.get(old.id)
            tea.name = "green tea"
            assert await uow.items.update_where(Item.name == "green tea", values={"price": 3}) == 1
            assert tea.updated_at > old.updated_at

        await shop.run(work)

        assert await shop.names() == ["green tea"]

    async def test_rows_that_meet_the_criteria_are_deleted_and_counted(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create_many(
                [{"name": name, "price": price} for name, price in (("a", 1), ("b", 2), ("c", 3))]
            )
            (a, *_) = await uow.items.list(order_by=Item.name)
            assert await uow.items.delete_where(Item.price < 3) == 2
            assert a not in uow.session
            assert await uow.items.get_or_none(a.id) is None
            assert await uow.items.delete_where(Item.price < 3) == 0

        await shop.run(work)

        assert await shop.names() == ["c"]

    async def test_the_orm_deletes_where_other_rows_hang_on_to_it(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> int:
            drinks = await uow.categories.create({"name": "drinks"})
            await uow.categories.create({"name": "empty"})
            await uow.items.create({"name": "tea", "price": 1, "category_id": drinks.id})
            uow.session.expunge_all()
            return await uow.categories.delete_where(true())

        assert await shop.run(work) == 2
        (tea,) = await shop.run(lambda uow: uow.items.list())
        assert tea.category_id is None, "as when each entity is deleted"

    async def test_no_criteria_are_refused(self, shop: Shop) -> None:
        await shop.run(lambda uow: add_item(uow, "tea"))

        with pytest.raises(InvalidDataError, match=r"every Item; pass sqlalchemy\.true\(\)"):
            await shop.run(lambda uow: uow.items.update_where(values={"price": 2}))
        with pytest.raises(InvalidDataError, match=r"every Item; pass sqlalchemy\.true\(\)"):
            await shop.run(lambda uow: uow.items.delete_where())
        with pytest.raises(UnknownFieldError):
            await shop.run(lambda uow: uow.items.update_where(true(), values={"prise": 2}))

        assert await shop.names() == ["tea"]


class TestUpsert:
    async def test_a_new_row_is_inserted_and_a_known_one_changed(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea = await uow.items.upsert({"name": "tea", "price": 1, "note": "green"}, on=Item.name)
            again = await uow.items.upsert(ItemCreate(name="tea", price=Decimal(2)), on=[Item.name])
            assert again is tea
            assert [str(tea.price), tea.note, tea.color] == ["2", "green", "white"], "what is not set stays"
            kept = await uow.items.upsert({"name": "tea", "price": 3, "note": "x"}, on=Item.name, update=Item.note)
            assert [str(kept.price), kept.note] == ["2", "x"]
            untouched = await uow.items.upsert({"name": "tea", "price": 4}, on=Item.name, update=())
            assert [str(untouched.price), untouched.note] == ["2", "x"]

        await shop.run(work)

        assert await shop.names() == ["tea"]

    async def test_the_primary_key_is_the_key_unless_another_is_named(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for name in ("Germany", "Deutschland"):
                assert (await uow.countries.upsert({"code": "DE", "name": name})).name == name
            for amount in (1, 2):
                stock = await uow.stocks.upsert({"warehouse": "north", "item_code": 7, "amount": amount})
                assert stock.amount == amount
            assert (await uow.countries.count(), await uow.stocks.count()) == (1, 1)

        await shop.run(work)

    async def test_an_update_is_stamped_and_the_creation_is_not(self, shop: Shop) -> None:
        old = await shop.run(lambda uow: uow.items.upsert({"name": "tea", "price": 1}, on=Item.name))
        new = await shop.run(
            lambda uow: uow.items.upsert({"name": "tea", "price": 2, "created_at": old.created_at}, on=Item.name)
        )

        assert new.created_at == old.created_at
        assert new.updated_at > old.updated_at

    async def test_a_key_with_none_in_it_never_meets_another_row(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            on = (Item.shelf, Item.position)
            placed = await uow.items.create({"name": "placed", "price": 1, "shelf": 1, "position": 2})
            upserted = await uow.items.upsert({"name": "a", "price": 2, "shelf": 1, "position": None}, on=on)
            found, is_new = await uow.items.get_or_create({"name": "b", "price": 3, "shelf": 1}, on=on)
            await uow.items.upsert_many([{"name": "c", "price": 4, "shelf": 1, "position": None}], on=on)
            met, is_met = await uow.items.get_or_create({"name": "d", "price": 5, "shelf": 1, "position": 2}, on=on)

            assert len({placed.id, upserted.id, found.id}) == 3
            assert (is_new, is_met, met) == (True, False, placed)
            assert await _prices(uow) == {"placed": 1, "a": 2, "b": 3, "c": 4}

        await shop.run(work)

    async def test_many_rows_are_upserted_by_one_key(self, shop: Shop) -> None:
        def rows(price: int) -> Iterator[dict[str, Any]]:
            return ({"name": f"item {number}", "price": price} for number in range(1_500))

        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "item 7", "price": 1, "note": "kept"})
            assert await uow.items.upsert_many(rows(2), on=Item.name) == 1_500
            seven = await uow.items.one(Item.name == "item 7")
            mixed = [
                {"name": "item 7", "price": 3},
                {"name": "item 8", "price": 3, "note": "new"},
                {"name": "x", "price": 3},
            ]
            assert await uow.items.upsert_many(mixed, on=Item.name) == 3
            assert [str(seven.price), seven.note] == ["3", "kept"], "an entity that is loaded knows it"
            assert (await uow.items.one(Item.name == "item 8")).note == "new"
            assert await uow.items.count(Item.price == 2) == 1_498
            assert await uow.items.upsert_many([{"name": "x", "price": 9}], on=Item.name, update=()) == 1
            assert (await uow.items.one(Item.name == "x")).price == 3

        await shop.run(work)

        assert await shop.run(lambda uow: uow.items.count()) == 1_501

    async def test_another_unique_value_that_is_taken_is_refused(self, shop: Shop) -> None:
        async def prepare(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "tea", "price": 1, "shelf": 1, "position": 1})
            await uow.items.create({"name": "cocoa", "price": 1, "shelf": 1, "position": 2})

        await shop.run(prepare)
        row = {"name": "milk", "price": 2, "shelf": 1, "position": 1}

        with pytest.raises(UniqueViolationError):
            await shop.run(lambda uow: uow.items.upsert(row, on=Item.name))
        with pytest.raises(UniqueViolationError):
            await shop.run(lambda uow: uow.items.upsert_many([{"name": "a", "price": 5}, row], on=Item.name))
        with pytest.raises(UniqueViolationError):
            await shop.run(lambda uow: uow.items.upsert({**row, "name": "cocoa"}, on=Item.name))
        with pytest.raises(UniqueViolationError):
            await shop.run(lambda uow: uow.items.get_or_create(row, on=Item.name))

        assert await shop.run(_prices) == {"tea": 1, "cocoa": 1}

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_what_another_key_meets_is_left_as_it_is(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "tea", "price": 1, "shelf": 1, "position": 1})
            row = {"name": "milk", "price": 2, "shelf": 1, "position": 1}
            for refused in (uow.items.upsert(row, on=Item.name), uow.items.upsert_many([row], on=Item.name)):
                with pytest.raises(UniqueViolationError):
                    await refused

        await shop.run(work)

        assert await shop.run(_prices) == {"tea": 1}

    async def test_a_key_that_is_not_unique_is_refused_and_the_unique_ones_are_named(self, sqlite_shop: Shop) -> None:
        with pytest.raises(TypeError, match=r"a unique key of Item: \(id\) or \(name\) or \(position, shelf\)"):
            await sqlite_shop.run(lambda uow: uow.items.upsert({"name": "tea", "price": 1}, on=Item.price))

    @pytest.mark.parametrize("on", ["name", ["name"]])
    async def test_text_for_a_key_is_refused_with_what_to_write(self, sqlite_shop: Shop, on: Any) -> None:
        with pytest.raises(TypeError, match=r"take attributes such as Item\.name"):
            await sqlite_shop.run(lambda uow: uow.items.upsert({"name": "tea", "price": 1}, on=on))

    async def test_an_expression_is_refused(self, sqlite_shop: Shop) -> None:
        with pytest.raises(InvalidDataError, match="plain values of columns"):
            await sqlite_shop.run(lambda uow: uow.items.upsert({"name": "tea", "price": func.abs(1)}, on=Item.name))


class TestRaces:
    """Sixteen tasks, each with a connection and a transaction of its own, and one key."""

    async def _race(self, shop: Shop, work: Callable[[ShopUnitOfWork, int], Awaitable[Any]]) -> list[Any]:
        # On SQLite one transaction can write at a time, so that they cannot all have begun.
        begun = asyncio.Barrier(1 if shop.database.dialect.transactions.has_one_writer else 16)

        async def run(database: Database, number: int) -> Any:
            async with ShopUnitOfWork(database) as uow:
                await uow.session.scalar(select(func.now()))  # a function, before which asyncpg begins too
                await begun.wait()
                return await work(uow, number)

        async with database_at(shop.database.url, pool_size=16, max_overflow=0) as database:
            return await asyncio.gather(*(run(database, number) for number in range(16)))

    async def test_get_or_create_makes_one_row(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork, number: int) -> tuple[int, bool]:
            item, is_new = await uow.items.get_or_create({"name": "tea", "price": number}, on=Item.name)
            return item.id, is_new

        results = await self._race(async_shop, work)

        assert len({item_id for item_id, _ in results}) == 1
        assert [is_new for _, is_new in results].count(True) == 1
        assert await async_shop.names() == ["tea"]

    async def test_upsert_makes_one_row_and_returns_what_it_wrote(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork, number: int) -> tuple[int, Decimal]:
            item = await uow.items.upsert({"name": "tea", "price": number}, on=Item.name)
            return item.id, item.price

        results = await self._race(async_shop, work)

        assert len({item_id for item_id, _ in results}) == 1
        assert sorted(price for _, price in results) == list(range(16))
        assert await async_shop.names() == ["tea"]

    async def test_each_way_of_writing_one_key_stands_the_others(self, async_shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork, number: int) -> None:
            row = {"name": "tea", "price": number}
            match number % 3:
                case 0:
                    await uow.items.get_or_create(row, on=Item.name)
                case 1:
                    await uow.items.upsert(row, on=Item.name)
                case _:
                    assert await uow.items.upsert_many([row], on=Item.name) == 1

        await self._race(async_shop, work)

        assert await async_shop.names() == ["tea"]


class TestLocks:
    @pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
    async def test_a_row_is_kept_from_others_until_the_end(self, shop: Shop) -> None:
        item = await shop.run(lambda uow: add_item(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.get(item.id, lock=Lock.update())
            with pytest.raises(LockTimeoutError):
                await shop.run(lambda other: other.items.get(item.id, lock=Lock.update(nowait=True)))
            with pytest.raises(NotFoundError):
                await shop.run(lambda other: other.items.get(item.id, lock=Lock.update(skip_locked=True)))

        if shop.backend.asynchronous:
            await shop.run(work)
            assert await shop.run(lambda uow: uow.items.get(item.id, lock=Lock.update(nowait=True)))

    @pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
    async def test_a_shared_lock_is_shared(self, shop: Shop) -> None:
        item = await shop.run(lambda uow: add_item(uow, "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.get(item.id, lock=Lock.share())
            if shop.backend.asynchronous:
                assert await shop.run(lambda other: other.items.get(item.id, lock=Lock.share(nowait=True)))

        await shop.run(work)

    async def test_a_locked_row_is_read_anew(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            await uow.session.execute(update(Item).values(price=7), execution_options={"synchronize_session": False})
            assert item.price == 1
            assert (await uow.items.get(item.id, lock=Lock.update())).price == 7

        await shop.run(work)


async def test_a_page_knows_its_total_in_one_statement(shop: Shop) -> None:
    await shop.run(lambda uow: uow.countries.create_many({"code": f"{n:02}", "name": "?"} for n in range(5)))

    for page, statements_sent in ((1, 1), (2, 1), (3, 1), (4, 2)):
        with Statements(shop) as statements:
            found = await shop.run(lambda uow, page=page: uow.countries.page(PageParams(page=page, size=2)))  # type: ignore[misc]
        assert (found.total, len(statements.sent)) == (5, statements_sent)

    with Statements(shop) as statements:
        assert (await shop.run(lambda uow: uow.countries.page(PageParams(), Country.name == "x"))).total == 0
    assert len(statements.sent) == 1


async def test_a_new_entity_is_not_read_back_for_what_is_null(shop: Shop) -> None:
    with Statements(shop) as statements:
        item = await shop.run(lambda uow: add_item(uow, "tea"))

    assert (item.note, item.category_id, item.color) == (None, None, "white")
    assert len(statements.sent) == 1
