"""Guarantee 9: a client that goes away leaves no connection behind, and work that is done wholly or not at all."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from layered_backend import UnitOfWork, UOWDep
from tests.faults.aborting import Departure, send_and_leave
from tests.faults.orders import OrderLineRepository, OrderRepository
from tests.faults.store import Store

router = APIRouter(prefix="/orders")

_LINES = 6
_CLIENTS = 200
_AT_A_TIME = 12
_ROUTES = ("plain", "slow", "stream", "generator", "events")


class OrderCreate(BaseModel):
    name: str
    stops: bool = False


async def _new_order(uow: UnitOfWork, name: str) -> AsyncIterator[int]:
    """Write an order line by line."""
    order = await uow.repository(OrderRepository).create({"name": name})
    for number in range(_LINES):
        await uow.repository(OrderLineRepository).create({"order_id": order.id, "number": number})
        yield number


async def _new_order_of_its_own(kind: UnitOfWork, data: OrderCreate) -> AsyncIterator[int]:
    """Write an order in a unit of work that ends with the stream, and pause after each line."""
    async with type(kind)(kind.database) as uow:
        async for number in _new_order(uow, data.name):
            yield number
            if data.stops and number == _LINES // 2:
                await asyncio.Event().wait()  # until the client is gone
            await asyncio.sleep(0.001)


@router.post("/plain", status_code=201)
async def create_order(data: OrderCreate, uow: UOWDep) -> int:
    return len([number async for number in _new_order(uow, data.name)])


@router.post("/slow", status_code=201)
async def create_order_slowly(data: OrderCreate, uow: UOWDep) -> None:
    async for _ in _new_order(uow, data.name):
        await asyncio.sleep(0.003)


@router.post("/stream")
async def stream_order(data: OrderCreate, uow: UOWDep) -> StreamingResponse:
    return StreamingResponse(f"{number}\n" async for number in _new_order_of_its_own(uow, data))


@router.post("/generator")
async def generate_order(data: OrderCreate, uow: UOWDep) -> AsyncIterator[int]:
    async for number in _new_order_of_its_own(uow, data):
        yield number


@router.post("/events", response_class=EventSourceResponse)
async def generate_order_events(data: OrderCreate, uow: UOWDep) -> AsyncIterator[int]:
    async for number in _new_order_of_its_own(uow, data):
        yield number


async def _leave_all(store: Store, visits: list[tuple[str, OrderCreate, Departure]]) -> None:
    turn = asyncio.Semaphore(_AT_A_TIME)

    async def visit(route: str, data: OrderCreate, departure: Departure) -> None:
        async with turn:
            await send_and_leave(store.server.url, f"/orders/{route}", data.model_dump(), departure)

    async with asyncio.TaskGroup() as group:
        for one in visits:
            group.create_task(visit(*one))


def _lines_of_orders(store: Store) -> dict[str, int]:
    rows = store.witness.rows(
        "SELECT name, count(order_lines.id) FROM orders LEFT JOIN order_lines ON order_id = orders.id GROUP BY name"
    )
    return {str(name): int(lines) for name, lines in rows}


async def test_a_client_that_leaves_at_any_moment_leaves_whole_work_or_none(store: Store) -> None:
    source = random.Random(9)  # noqa: S311  # no secret
    visits = [
        (source.choice(_ROUTES), OrderCreate(name=f"order {number}"), Departure.at_random(source))
        for number in range(_CLIENTS)
    ]

    await _leave_all(store, visits)

    await store.until_nothing_is_left()
    lines = _lines_of_orders(store)
    assert set(lines.values()) == {_LINES}
    assert store.witness.count("order_lines") == len(lines) * _LINES
    assert 0 < len(lines) < _CLIENTS


@pytest.mark.parametrize("route", ["stream", "generator", "events"])
async def test_a_stream_whose_client_left_in_the_middle_saves_nothing(store: Store, route: str) -> None:
    visits = [
        (route, OrderCreate(name=f"order {number}", stops=True), Departure(lines=_LINES // 2, is_rude=number % 2 == 0))
        for number in range(20)
    ]

    await _leave_all(store, visits)

    await store.until_nothing_is_left()
    assert _lines_of_orders(store) == {}
    assert store.witness.count("order_lines") == 0
