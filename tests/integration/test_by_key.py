"""Changing and deleting by key in one statement, and writes that return schemas, on each database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import event, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from layered_backend import (
    BaseRepository,
    ForeignKeyViolationError,
    InvalidDataError,
    NotFoundError,
    UniqueViolationError,
    UnknownFieldError,
)
from layered_backend.field_values import Data
from tests.databases import Shop
from tests.shop import Category, Item, ItemCreate, ItemRead, ItemRepository, ShopUnitOfWork, add_item
from tests.statements import Statements


class CategoryRead(BaseModel):
    name: str


class ItemDetail(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    color: str
    updated_at: datetime
    category: CategoryRead | None


def _returns_updated(bound: Shop) -> bool:
    return bound.backend.server != "mariadb"


async def _add(bound: Shop, *names: str) -> list[int]:
    """Add items, and return their keys."""

    async def add(uow: ShopUnitOfWork) -> list[int]:
        return [(await add_item(uow, name)).id for name in names]

    return await bound.run(add)


class TestEntities:
    async def test_a_change_by_key_reads_nothing_first(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")

        async def change(uow: ShopUnitOfWork) -> Item:
            with Statements(bound) as statements:
                item = await uow.items.update(key, {"price": 2, "note": "hot"})
            assert [sent.split()[0] for sent, _ in statements.sent] == (
                ["UPDATE"] if _returns_updated(bound) else ["SELECT", "UPDATE"]
            )
            assert item in uow.session
            return item

        item = await bound.run(change)

        assert (item.name, item.price, item.note, item.color) == ("tea", Decimal(2), "hot", "white")
        assert await bound.run(lambda uow: uow.items.exists(Item.price == 2, Item.note == "hot"))

    async def test_a_change_to_the_same_values_touches_nothing(self, bound: Shop) -> None:
        before = await bound.run(lambda uow: add_item(uow, "tea"))
        key = before.id

        after = await bound.run(lambda uow: uow.items.update(key, {"price": 1, "note": None, "name": "tea"}))

        assert after.updated_at == before.updated_at

    async def test_a_change_is_stamped(self, bound: Shop) -> None:
        before = await bound.run(lambda uow: add_item(uow, "tea"))
        key = before.id

        after = await bound.run(lambda uow: uow.items.update(key, {"note": "hot"}))

        assert after.updated_at > before.updated_at
        assert after.created_at == before.created_at

    async def test_null_is_another_value(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")
        await bound.run(lambda uow: uow.items.update(key, {"note": "hot"}))

        item = await bound.run(lambda uow: uow.items.update(key, {"note": None}))

        assert item.note is None

    async def test_an_entity_that_is_loaded_learns_of_the_change(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea = await add_item(uow, "tea")
            assert await uow.items.update(tea.id, {"price": 2}) is tea
            assert tea.price == 2

        await bound.run(work)

    async def test_a_pending_change_is_written_first(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            cup = await add_item(uow, "cup")
            tea = await add_item(uow, "tea")
            uow.session.expunge(tea)
            cup.name = "mug"
            assert (await uow.items.update(tea.id, {"replaces_id": cup.id})).replaces_id == cup.id

        await bound.run(work)
        assert await bound.names() == ["mug", "tea"]

    async def test_who_listens_to_an_attribute_hears_of_it(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")
        heard: list[Any] = []

        def hear(item: Item, value: Any, *others: object) -> None:
            heard.append(value)

        event.listen(Item.price, "set", hear)
        try:
            await bound.run(lambda uow: uow.items.update(key, {"price": Decimal(2)}))
        finally:
            event.remove(Item.price, "set", hear)

        assert heard == [2]

    async def test_who_listens_to_updates_and_deletions_hears_of_them(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")
        heard: list[str] = []

        def hear_update(mapper: object, connection: object, item: Item) -> None:
            heard.append(f"update {item.price}")

        def hear_deletion(mapper: object, connection: object, item: Item) -> None:
            heard.append(f"delete {item.name}")

        event.listen(Item, "before_update", hear_update)
        event.listen(Item, "before_delete", hear_deletion)
        try:
            await bound.run(lambda uow: uow.items.update(key, {"price": Decimal(2)}))
            await bound.run(lambda uow: uow.items.returning(ItemRead).update(key, {"price": Decimal(3)}))
            await bound.run(lambda uow: uow.items.delete(key))
        finally:
            event.remove(Item, "before_update", hear_update)
            event.remove(Item, "before_delete", hear_deletion)

        assert heard == ["update 2", "update 3", "delete tea"]

    async def test_an_entity_that_is_pending_is_written_first(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for key, write in ((7, uow.items.update), (8, uow.items.returning(ItemRead).update)):
                pending = Item(id=key, name=f"item {key}", price=1)
                uow.session.add(pending)
                assert (await write(key, {"price": 2})).price == pending.price == 2
            uow.session.add(Item(id=9, name="item 9", price=1))
            await uow.items.returning(ItemRead).delete(9)
            assert not [entity for entity in uow.session if isinstance(entity, Item) and entity.id == 9]

        await bound.run(work)

    async def test_what_a_savepoint_undoes_is_undone_in_the_entity_too(self, bound: Shop) -> None:
        first, second, third = await _add(bound, "tea", "cup", "pot")
        writes: list[Callable[[ItemRepository], Awaitable[Any]]] = [
            lambda items: items.update(first, {"price": 2}),
            lambda items: items.upsert({"id": second, "name": "cup", "price": 2}),
            lambda items: items.update_where(Item.id == third, values={"price": 2}),
        ]

        async def work(uow: ShopUnitOfWork) -> None:
            kept: list[Any] = [await uow.items.get(third)]
            for write in writes:
                with pytest.raises(KeyError):
                    async with uow.savepoint():
                        kept.append(await write(uow.items))
                        raise KeyError
            assert [(await uow.items.get(key)).price for key in (first, second, third)] == [1, 1, 1]

        await bound.run(work)

    async def test_what_a_savepoint_had_made_is_gone_with_it(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")

        async def work(uow: ShopUnitOfWork) -> None:
            kept: list[Any] = []
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    kept += [await uow.items.upsert({"id": 9, "name": "cup", "price": 1}), await uow.items.delete(key)]
                    raise KeyError
            assert await uow.items.get_or_none(9) is None
            assert await uow.items.get(key) is kept[1]

        await bound.run(work)

    @pytest.mark.parametrize("key", [0, 10**30, None])
    async def test_what_is_not_there_is_not_found(self, bound: Shop, key: Any) -> None:
        with pytest.raises(NotFoundError):
            await bound.run(lambda uow: uow.items.update(key, {"price": 2}))
        with pytest.raises(NotFoundError):
            await bound.run(lambda uow: uow.items.delete(key))

    async def test_what_the_database_refuses_is_told(self, bound: Shop) -> None:
        _, key = await _add(bound, "tea", "cup")

        with pytest.raises(UniqueViolationError) as caught:
            await bound.run(lambda uow: uow.items.update(key, {"name": "tea"}))
        assert (caught.value.table, caught.value.columns) == ("items", ("name",))
        with pytest.raises(ForeignKeyViolationError):
            await bound.run(lambda uow: uow.items.update(key, {"category_id": 7}))
        with pytest.raises(InvalidDataError):
            await bound.run(lambda uow: uow.items.update(key, {"price": -1}))

    async def test_a_deletion_by_key_returns_the_entity_as_it_was(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")

        async def work(uow: ShopUnitOfWork) -> Item:
            with Statements(bound) as statements:
                item = await uow.items.delete(key)
            assert [sent.split()[0] for sent, _ in statements.sent] == ["DELETE"]
            assert item not in uow.session
            assert await uow.items.get_or_none(key) is None
            return item

        item = await bound.run(work)

        assert (item.id, item.name, item.price) == (key, "tea", Decimal(1))
        assert await bound.names() == []

    async def test_a_deletion_that_the_orm_has_to_follow_is_left_to_it(self, bound: Shop) -> None:
        drinks = await bound.run(lambda uow: uow.categories.create({"name": "drinks"}))
        await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1, "category_id": drinks.id}))

        await bound.run(lambda uow: uow.categories.delete(drinks.id))

        assert (await bound.run(lambda uow: uow.items.one())).category_id is None


class OwnRules(ItemRepository):
    async def create(self, data: Data, **options: Any) -> Item:
        raise InvalidDataError("not today")


class TestSchemas:
    async def test_a_new_row_comes_back_with_the_statement_that_writes_it(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> ItemDetail:
            drinks = await uow.categories.create({"name": "drinks"})
            data = ItemCreate(name="tea", price=Decimal("1.50"), category_id=drinks.id)
            with Statements(bound) as statements:
                created = await uow.items.returning(ItemRead).create(data)
            assert [sent.split()[0] for sent, _ in statements.sent] == ["INSERT"]
            assert isinstance(created, ItemRead)
            assert not [entity for entity in uow.session.identity_map.values() if isinstance(entity, Item)]
            return await uow.items.returning(ItemDetail).create(data.model_copy(update={"name": "cup"}))

        cup = await bound.run(work)

        stored = await bound.run(lambda uow: uow.items.one(Item.name == "cup"))
        assert cup.category == CategoryRead(name="drinks")
        assert (cup.id, cup.name, cup.color, cup.updated_at) == (stored.id, "cup", "white", stored.updated_at)
        assert stored.created_at == stored.updated_at

    async def test_each_write_returns_what_a_projection_would_read(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            drinks = await uow.categories.create({"name": "drinks"})
            items, read = uow.items.returning(ItemDetail), uow.items.project(ItemDetail)
            created = await items.create({"name": "tea", "price": 1, "color": "green", "category_id": drinks.id})
            assert created == await read.get(created.id)
            changed = await items.update(created.id, {"name": "cocoa", "category_id": None})
            assert changed == await read.get(created.id)
            assert (changed.name, changed.category) == ("cocoa", None)
            assert await items.update(created.id, {"name": "cocoa"}) == changed
            assert await items.update(created.id, {}) == changed
            assert await items.delete(created.id) == changed
            assert await read.get_or_none(created.id) is None

        await bound.run(work)

    async def test_a_change_reads_nothing_first(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")

        async def change(uow: ShopUnitOfWork) -> None:
            with Statements(bound) as statements:
                changed = await uow.items.returning(ItemRead).update(key, {"price": 2})
            assert changed.price == 2
            if _returns_updated(bound):
                assert [sent.split()[0] for sent, _ in statements.sent] == ["UPDATE"]

        await bound.run(change)

    async def test_an_entity_that_is_loaded_learns_of_it(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            tea = await add_item(uow, "tea")
            assert (await uow.items.returning(ItemRead).update(tea.id, {"price": 2})).price == 2
            assert tea.price == 2
            await uow.items.returning(ItemRead).delete(tea.id)
            assert inspect(tea).deleted or inspect(tea).detached

        await bound.run(work)

    async def test_a_method_that_the_repository_overrides_is_never_passed_by(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            repository: BaseRepository[Item] = uow.repository(OwnRules)
            with pytest.raises(InvalidDataError, match="not today"):
                await repository.returning(ItemRead).create({"name": "tea", "price": 1})

        await bound.run(work)
        assert await bound.names() == []

    async def test_bad_input_is_refused_alike(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            items = uow.items.returning(ItemRead)
            with pytest.raises(UnknownFieldError):
                await items.create({"nme": "tea"})
            with pytest.raises(UnknownFieldError):
                await items.update(1, {"nme": "tea"})
            for key in (0, 10**30, None):
                with pytest.raises(NotFoundError):
                    await items.update(key, {"price": 2})
                with pytest.raises(NotFoundError):
                    await items.delete(key)

        await bound.run(work)
        await _add(bound, "tea")
        with pytest.raises(UniqueViolationError):
            await bound.run(lambda uow: uow.items.returning(ItemRead).create({"name": "tea", "price": 1}))

    async def test_a_row_that_others_would_notice_is_written_as_an_entity(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            drinks = await uow.categories.create({"name": "drinks"})
            created = await uow.items.returning(ItemDetail).create({"name": "tea", "price": 1, "category": drinks})
            assert created.category == CategoryRead(name="drinks")

        await bound.run(work)
        assert isinstance(await bound.run(lambda uow: uow.categories.one()), Category)

    async def test_who_listens_hears_of_each_row(self, bound: Shop) -> None:
        def shout(item: Item, value: str, *others: object) -> str:
            return value.upper()

        def color(item: Item, args: object, values: dict[str, Any]) -> None:
            values.setdefault("color", "blue")

        def attach(session: Session, entity: object) -> None:
            attached.append(entity)

        async def work(uow: ShopUnitOfWork) -> None:
            event.listen(uow.session.sync_session, "after_attach", attach)
            await uow.items.returning(ItemRead).create({"name": "tea", "price": 1})
            await uow.items.create_many([{"name": "cup", "price": 1}, {"name": "pot", "price": 1}])
            await uow.items.update_where(Item.name == "POT", values={"name": "kettle"})

        attached: list[object] = []
        event.listen(Item.name, "set", shout, retval=True)
        event.listen(Item, "init", color)
        try:
            await bound.run(work)
        finally:
            event.remove(Item, "init", color)
            event.remove(Item.name, "set", shout)

        assert len(attached) == 3
        items = await bound.run(lambda uow: uow.items.list())
        assert [(item.name, item.color) for item in items] == [("TEA", "blue"), ("CUP", "blue"), ("KETTLE", "blue")]

    async def test_criteria_that_a_listener_adds_hold(self, bound: Shop) -> None:
        (key,) = await _add(bound, "tea")

        def hide(statement: ORMExecuteState) -> None:
            statement.statement = statement.statement.options(with_loader_criteria(Item, Item.name != "tea"))

        async def work(uow: ShopUnitOfWork) -> None:
            event.listen(uow.session.sync_session, "do_orm_execute", hide)
            with pytest.raises(NotFoundError):
                await uow.items.returning(ItemRead).update(key, {"price": 2})

        await bound.run(work)
        assert await bound.run(lambda uow: uow.items.exists(Item.price == 1))

    async def test_the_session_of_sqlalchemy_itself_will_do(self, async_shop: Shop) -> None:
        async with AsyncSession(async_shop.database.engine) as session:
            items = ItemRepository(session)
            created = await items.returning(ItemRead).create({"name": "tea", "price": 1})
            assert await items.project(ItemRead).get(created.id) == created
            await session.commit()
