"""Guarantee 7: a request has one unit of work, and one COMMIT, whatever asks for it and in whatever scope."""

import itertools
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends

from layered_backend import BaseService, UnitOfWork, get_repository, get_service, get_uow, uow_dependency
from tests.databases import ASYNC_BACKENDS
from tests.faults.journal import journal
from tests.faults.orders import Order, OrderRepository
from tests.faults.store import Store
from tests.shop import Item, ItemRepository, ItemService, ShopUnitOfWork


class OrderService(BaseService[Order, OrderRepository, dict[str, object], dict[str, object]]):
    pass


router = APIRouter()


@router.post("/everything")
async def write_through_everything(  # noqa: PLR0917  # FastAPI passes them by name
    plain: Annotated[UnitOfWork, Depends(get_uow)],
    function: Annotated[UnitOfWork, Depends(get_uow, scope="function")],
    request: Annotated[UnitOfWork, Depends(get_uow, scope="request")],
    uncached: Annotated[UnitOfWork, Depends(get_uow, use_cache=False)],
    typed: Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork), scope="request")],
    items: Annotated[ItemService, Depends(get_service(ItemService, ItemRepository, Item))],
    orders: Annotated[OrderService, Depends(get_service(OrderService), scope="function")],
    repository: Annotated[OrderRepository, Depends(get_repository(OrderRepository), scope="request")],
) -> int:
    """Write once through each of them, and answer how many units of work they are."""
    names = (f"of {number}" for number in itertools.count())
    for uow in (plain, function, request, uncached, typed):
        await uow.repository(OrderRepository).create({"name": next(names)})
    await items.repository.create({"name": next(names), "price": 1})
    await orders.create({"name": next(names)})
    await repository.create({"name": next(names)})
    journal.note("written")
    return len({id(uow) for uow in (plain, function, request, uncached, typed, items.uow, orders.uow)})


async def test_a_request_has_one_unit_of_work_and_one_commit(store: Store) -> None:
    async with store.server.client() as client:
        answer = await client.post("/everything")

    assert (answer.status_code, answer.json()) == (200, 1)
    assert await store.journal() == ["written", "COMMIT", "response 200"]
    assert (store.witness.count("orders"), store.witness.count("items")) == (7, 1)


@pytest.mark.parametrize(
    "store", [backend for backend in ASYNC_BACKENDS if backend.server == "postgresql"], indirect=True, ids=str
)
async def test_postgresql_too_sees_one_transaction(store: Store) -> None:
    async with store.server.client() as client:
        await client.post("/everything")

    transactions = store.witness.rows("SELECT xmin::text FROM orders UNION SELECT xmin::text FROM items")
    assert len(transactions) == 1
