from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

import pytest

from layered_backend import (
    BaseRepository,
    BaseService,
    ConflictError,
    CursorParams,
    InvalidDataError,
    NotFoundError,
)
from tests.databases import Shop
from tests.shop import (
    Country,
    Document,
    Item,
    ItemCreate,
    ItemRepository,
    ItemService,
    ItemUpdate,
    Meter,
    ShopUnitOfWork,
    Stock,
)

ModelT = TypeVar("ModelT")


class TestOperations:
    async def test_it_creates_reads_changes_and_deletes(self, bound: Shop) -> None:
        async def create(uow: ShopUnitOfWork) -> Item:
            return await ItemService.of(uow).create(ItemCreate(name="tea", price=Decimal(4), note="green"))

        item = await bound.run(create)
        changed = await bound.run(lambda uow: ItemService.of(uow).update(item.id, ItemUpdate(price=Decimal(2))))
        found = await bound.run(lambda uow: ItemService.of(uow).get(item.id))
        listed = await bound.run(lambda uow: ItemService.of(uow).list(Item.price < 3, order_by=Item.name, limit=5))

        assert (changed.price, found.note) == (Decimal(2), "green")
        assert [each.id for each in listed] == [item.id]
        assert await bound.run(lambda uow: ItemService.of(uow).exists(Item.name == "tea"))
        assert await bound.run(lambda uow: ItemService.of(uow).count()) == 1
        assert (await bound.run(lambda uow: ItemService.of(uow).delete(item.id))).name == "tea"
        with pytest.raises(NotFoundError):
            await bound.run(lambda uow: ItemService.of(uow).get(item.id))

    async def test_an_operation_of_the_domain_uses_the_typed_repository(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 4}))

        discounted = await bound.run(lambda uow: ItemService.of(uow).discount(item.id, 25))

        assert discounted.price == 3
        with pytest.raises(InvalidDataError, match="between 1 and 100"):
            await bound.run(lambda uow: ItemService.of(uow).discount(item.id, 0))

    async def test_a_rule_in_an_override_guards_the_base(self, bound: Shop) -> None:
        class NoDuplicates(ItemService):
            async def create(self, data: ItemCreate, **options: Any) -> Item:
                if await self.repository.exists(Item.name == data.name):
                    raise ConflictError("an item of this name exists")
                return await super().create(data, **options)

        await bound.run(lambda uow: NoDuplicates.of(uow).create(ItemCreate(name="tea", price=Decimal(1))))

        with pytest.raises(ConflictError, match="of this name exists"):
            await bound.run(lambda uow: NoDuplicates.of(uow).create(ItemCreate(name="tea", price=Decimal(1))))

    async def test_it_never_commits(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await ItemService.of(uow).create(ItemCreate(name="tea", price=Decimal(1)))
            await uow.rollback()

        await bound.run(work)

        assert await bound.run(lambda uow: uow.items.count()) == 0


class StockService(BaseService[Stock]):
    pass


class DocumentService(BaseService[Document]):
    pass


class CountryService(BaseService[Country]):
    pass


class MeterService(BaseService[Meter]):
    pass


KEYS: list[tuple[type[BaseService[Any]], Any, dict[str, Any], dict[str, Any]]] = [
    (StockService, ("north", 7), {"warehouse": "north", "item_code": 7, "amount": 1}, {"amount": 2}),
    (DocumentService, UUID(int=7), {"id": UUID(int=7), "title": "plan"}, {"title": "map"}),
    (CountryService, "DE", {"code": "DE", "name": "Germany"}, {"name": "Deutschland"}),
    (MeterService, 42, {"serial": 42, "reading": 1}, {"reading": 2}),
]


@pytest.mark.parametrize(
    ("service_class", "key", "new", "changes"), KEYS, ids=["composite", "uuid", "text", "odd name"]
)
async def test_keys_of_every_kind_pass_through_the_service(
    bound: Shop, service_class: type[BaseService[Any]], key: Any, new: dict[str, Any], changes: dict[str, Any]
) -> None:
    async def create(uow: ShopUnitOfWork) -> None:
        await service_class.of(uow).create(new)

    async def change(uow: ShopUnitOfWork) -> None:
        await service_class.of(uow).update(key, changes)

    async def delete(uow: ShopUnitOfWork) -> None:
        await service_class.of(uow).delete(key)

    await bound.run(create)
    await bound.run(change)
    found = await bound.run(lambda uow: service_class.of(uow).get(key))
    assert {name: getattr(found, name) for name in new} == new | changes
    await bound.run(delete)
    with pytest.raises(NotFoundError):
        await bound.run(lambda uow: service_class.of(uow).get(key))


class TestBuilding:
    async def test_the_classes_may_be_arguments(self, sqlite_shop: Shop) -> None:
        class Loud(ItemRepository):
            pass

        async with sqlite_shop.unit() as uow:
            service = ItemService(Loud, Item, uow)

            assert type(service.repository) is Loud
            assert service.uow is uow

    async def test_the_repository_defaults_to_the_plain_one(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            service = MeterService.of(uow)

            assert type(service.repository) is BaseRepository
            assert (await service.create({"serial": 1, "reading": 2})).reading == 2

    async def test_type_arguments_pass_through_generic_classes_in_between(self, sqlite_shop: Shop) -> None:
        class AuditedRepository(BaseRepository[ModelT]):
            pass

        class AuditedService(BaseService[ModelT, AuditedRepository[ModelT]], Generic[ModelT]):
            pass

        class MeterRepository(AuditedRepository[Meter]):
            pass

        class AuditedMeterService(AuditedService[Meter]):
            pass

        class StillMeterService(AuditedMeterService):
            pass

        async with sqlite_shop.unit() as uow:
            assert MeterRepository(uow.session).model is Meter
            service = StillMeterService.of(uow)
            assert service.repository.model is Meter
            assert type(service.repository) is AuditedRepository

    async def test_without_type_arguments_it_says_what_to_write(self, sqlite_shop: Shop) -> None:
        class Nameless(BaseService):  # type: ignore[type-arg]  # pyright: ignore
            pass

        async with sqlite_shop.unit() as uow:
            with pytest.raises(TypeError, match=r"class Nameless\(BaseService\[Item, ItemRepository\]\)"):
                Nameless.of(uow)


class TestReplace:
    async def test_an_omitted_field_gets_its_default_and_the_rest_stays(self, shop: Shop) -> None:
        async def create(uow: ShopUnitOfWork) -> Item:
            given = {"name": "tea", "price": 4, "note": "x", "color": "red", "shelf": 1, "position": 2}
            return await uow.items.create(given)

        item = await shop.run(create)
        whole = ItemCreate(name="tee", price=Decimal(5))
        await shop.run(lambda uow: ItemService.of(uow).replace(item.id, whole))

        found = await shop.run(lambda uow: uow.items.get(item.id))
        assert (found.name, found.price, found.note, found.color, found.shelf) == ("tee", Decimal(5), None, "white", 1)

    async def test_the_rules_of_update_hold(self, shop: Shop) -> None:
        seen: list[ItemUpdate] = []

        class Watched(ItemService):
            async def update(self, key: Any, data: ItemUpdate, **options: Any) -> Item:
                seen.append(data)
                return await super().update(key, data, **options)

        item = await shop.run(lambda uow: uow.items.create({"name": "tea", "price": 4, "note": "x"}))
        whole = ItemCreate(name="tee", price=Decimal(5))
        await shop.run(lambda uow: Watched.of(uow).replace(item.id, whole))

        (data,) = seen
        assert isinstance(data, ItemUpdate)
        assert (data.name, data.price, data.note) == ("tee", Decimal(5), None)
        assert data.model_fields_set == {"name", "price", "note", "color", "category_id"}

    async def test_the_key_may_be_repeated_but_not_changed(self, shop: Shop) -> None:
        class StockService(BaseService[Stock]):
            pass

        async def work(uow: ShopUnitOfWork) -> int:
            await uow.stocks.create({"warehouse": "n", "item_code": 7, "amount": 1})
            service = StockService.of(uow)
            await service.replace(("n", 7), {"warehouse": "n", "item_code": 7, "amount": 2})
            await service.replace({"item_code": 7, "warehouse": "n"}, {"warehouse": "n", "amount": 3})
            for key in (("n", 7), {"item_code": 7, "warehouse": "n"}):
                with pytest.raises(ConflictError, match=r"Stock\.item_code is another than the key"):
                    await service.replace(key, {"warehouse": "n", "item_code": 8, "amount": 4})
            return (await uow.stocks.one()).amount

        assert await shop.run(work) == 3

    async def test_what_is_not_there_is_not_made(self, shop: Shop) -> None:
        with pytest.raises(NotFoundError):
            await shop.run(lambda uow: ItemService.of(uow).replace(7, ItemCreate(name="tea", price=Decimal(1))))


async def test_cursor_pages_are_the_repositorys(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> list[str]:
        await uow.items.create_many({"name": name, "price": 1} for name in "abc")
        first = await ItemService.of(uow).cursor_page(CursorParams(size=2), order_by=Item.name.desc())
        params = CursorParams(size=2, cursor=first.next)
        second = await ItemService.of(uow).cursor_page(params, order_by=Item.name.desc())
        return [item.name for item in (*first.items, *second.items)]

    assert await shop.run(work) == ["c", "b", "a"]
