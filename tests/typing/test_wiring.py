"""What type checkers infer, and which wirings they refuse.

mypy and pyright read this file with the rest of the tests; an inference that changes, or a mistake that is no longer
refused (its comment is then unnecessary), fails them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, assert_type

from fastapi import APIRouter, Depends
from sqlalchemy import Select, select
from starlette.requests import HTTPConnection

from layered_backend import (
    BaseRepository,
    BaseService,
    CursorPage,
    CursorParams,
    Lock,
    Page,
    PageParams,
    Projection,
    Returning,
    Slice,
    UnitOfWork,
    crud_router,
    get_projection,
    get_repository,
    get_service,
    transact,
    uow_dependency,
)
from tests.shop import (
    Category,
    CategoryRepository,
    Item,
    ItemCreate,
    ItemRead,
    ItemRepository,
    ItemService,
    ItemUpdate,
    ShopUnitOfWork,
    Stock,
)


class FakeItems(ItemRepository):
    pass


class ShopItemService(BaseService[Item, ItemRepository, ItemCreate, ItemUpdate, ShopUnitOfWork]):
    async def stocks(self) -> Sequence[Stock]:
        return await self.uow.stocks.list()


class PlainService(BaseService[Item]):
    pass


ItemDependency: TypeAlias = Callable[[UnitOfWork], Coroutine[Any, Any, ItemService]]


def test_the_dependencies_are_typed_by_what_they_are_given() -> None:
    assert_type(get_service(ItemService, ItemRepository, Item), ItemDependency)
    assert_type(get_service(ItemService, FakeItems, Item), ItemDependency)
    assert_type(get_service(ItemService), ItemDependency)
    assert_type(get_service(ShopItemService), Callable[[UnitOfWork], Coroutine[Any, Any, ShopItemService]])
    assert_type(get_repository(ItemRepository), Callable[[UnitOfWork], Coroutine[Any, Any, ItemRepository]])
    assert_type(
        get_projection(ItemRepository, ItemRead), Callable[[HTTPConnection], Coroutine[Any, Any, Projection[ItemRead]]]
    )
    assert_type(uow_dependency(ShopUnitOfWork), Callable[..., Coroutine[Any, Any, ShopUnitOfWork]])


def test_a_router_takes_the_schemas_of_its_service() -> None:
    get = get_service(ItemService)
    assert_type(crud_router(get, read=ItemRead, create=ItemCreate, update=ItemUpdate), APIRouter)
    assert_type(crud_router(get_service(PlainService), read=ItemRead, create=ItemCreate, update=ItemUpdate), APIRouter)
    assert_type(crud_router(get, read=ItemRead, query=CursorParams, only=("list", "get")), APIRouter)


async def annotated_route(
    service: Annotated[ItemService, Depends(get_service(ItemService, ItemRepository, Item))],
) -> None:
    assert_type(service, ItemService)


async def unit_of_work(uow: ShopUnitOfWork) -> None:
    assert_type(uow.items, ItemRepository)
    assert_type(uow.stocks, BaseRepository[Stock])
    assert_type(uow.repository(CategoryRepository), CategoryRepository)
    assert_type(await uow.items.cheaper_than(Decimal(5)), Sequence[Item])
    assert_type(await uow.items.get(1), Item)
    assert_type(await uow.items.get_or_none(1), Item | None)
    assert_type(await uow.items.one(Item.name == "tea"), Item)
    assert_type(await uow.items.first(order_by=Item.price.desc()), Item | None)
    assert_type(await uow.items.list(Item.price < 5, order_by=[Item.price, Item.name.desc()]), Sequence[Item])
    assert_type(await uow.items.create({"name": "tea"}), Item)
    assert_type(await uow.items.delete(1), Item)
    assert_type(await uow.items.exists(), bool)
    assert_type(uow.items.select(), Select[Item])
    assert_type(await uow.items.get(1, lock=Lock.update()), Item)
    assert_type(await uow.items.get_many([1, 2]), Sequence[Item])
    assert_type(await uow.items.page(PageParams(), Item.price < 5, order_by=Item.price), Page[Item])
    assert_type(await uow.items.slice(PageParams()), Slice[Item])
    assert_type(await uow.items.cursor_page(CursorParams()), CursorPage[Item])
    assert_type([item async for item in uow.items.stream()], list[Item])
    assert_type(await uow.items.upsert({"name": "tea"}, on=Item.name, update=[Item.price, Item.note]), Item)
    assert_type(await uow.items.get_or_create({"name": "tea"}, on=(Item.shelf, Item.position)), tuple[Item, bool])
    assert_type(await uow.items.update_where(Item.price < 5, values={"price": Item.price * 2}), int)
    assert_type(uow.items.project(ItemRead), Projection[ItemRead])
    assert_type(uow.items.project(ItemRead, price=Item.price * 2, name=select(Category.name)), Projection[ItemRead])
    uow.items.project(ItemRead, price=[1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await uow.items.project(ItemRead).page(PageParams()), Page[ItemRead])
    assert_type(await uow.items.project(ItemRead).get_or_none(1), ItemRead | None)
    assert_type(uow.items.returning(ItemRead), Returning[ItemRead])
    assert_type(await uow.items.returning(ItemRead).create({"name": "tea"}), ItemRead)
    assert_type(await uow.items.returning(ItemRead).update(1, {"name": "tea"}), ItemRead)
    assert_type(await uow.items.returning(ItemRead).delete(1), ItemRead)
    async with ShopUnitOfWork() as entered:
        assert_type(entered, ShopUnitOfWork)
    with ShopUnitOfWork() as entered:
        assert_type(entered.run(entered.items.get(1)), Item)


async def count_items(uow: ShopUnitOfWork) -> int:
    return await uow.items.count()


async def service_and_transact(service: ItemService, shop_service: ShopItemService, plain: PlainService) -> None:
    assert_type(await service.create(ItemCreate(name="tea", price=Decimal(1))), Item)
    assert_type(await service.update(1, ItemUpdate(price=Decimal(2))), Item)
    assert_type(await service.list(), Sequence[Item])
    assert_type(await service.page(PageParams()), Page[Item])
    assert_type(await service.cursor_page(CursorParams()), CursorPage[Item])
    assert_type(await service.replace(1, ItemCreate(name="tea", price=Decimal(1))), Item)
    assert_type(service.repository, ItemRepository)
    assert_type(service.uow, UnitOfWork)
    assert_type(shop_service.uow, ShopUnitOfWork)
    assert_type(plain.repository, BaseRepository[Item])
    assert_type(await transact(ShopUnitOfWork, count_items), int)
    fits_any_item_service: BaseService[Item, BaseRepository[Item], ItemCreate, ItemUpdate] = service
    assert_type(await fits_any_item_service.get(1), Item)


if TYPE_CHECKING:

    async def mistakes(uow: ShopUnitOfWork, service: ItemService, plain_uow: UnitOfWork) -> None:
        # A wrong repository, a wrong model, a class that is no service, nothing but a repository.
        get_service(ItemService, CategoryRepository, Item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        get_service(ItemService, ItemRepository, Category)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        get_service(ItemRepository)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
        get_service(ItemService, ItemRepository)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        get_repository(Item)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
        # A schema of the other operation, a name that is no operation, and a query without pages.
        get = get_service(ItemService)
        crud_router(get, read=ItemRead, create=ItemUpdate, update=ItemUpdate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        crud_router(get, read=ItemRead, create=ItemCreate, update=ItemCreate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        crud_router(get, read=ItemRead, only=("list", "patch"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        crud_router(get, read=ItemRead, query=ItemRead, only=["list"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        # A wrong schema, in place of the one for new items and of the one for changes.
        await service.create(ItemUpdate(name="tea"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await service.update(1, ItemCreate(name="tea", price=Decimal(1)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await service.create({"name": "tea"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        # A unit of work without what the service takes from it, and one without the repository.
        ShopItemService.of(plain_uow)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        _ = plain_uow.items  # type: ignore[attr-defined]  # pyright: ignore
        # A column that does not exist, and a criterion that is none.
        await uow.items.list(Item.prise < 5)  # type: ignore[attr-defined]  # pyright: ignore
        await uow.items.list("price < 5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        # A page for a cursor, and text for attributes and for an order.
        await uow.items.cursor_page(PageParams())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await uow.items.upsert({"name": "tea"}, on="name")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await uow.items.page(PageParams(), order_by="name")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        # An entity in place of a class, and one of another class.
        await uow.items.add(Category(name="drinks"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
