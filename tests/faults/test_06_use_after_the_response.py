"""Guarantee 6: what goes on after the response cannot use the request's unit of work: it is told so, and takes nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from layered_backend import UnitOfWork, UOWDep, get_service
from tests.faults.store import Store
from tests.shop import ItemRead, ItemRepository, ItemService

ItemServiceDep = Annotated[ItemService, Depends(get_service(ItemService))]
router = APIRouter(prefix="/late")

_REQUESTS = 50


async def _count_items(service: ItemServiceDep) -> int:
    return await service.count()


async def _count_with(uow: UnitOfWork) -> None:
    await uow.repository(ItemRepository).count()


async def _counting(service: ItemService) -> AsyncIterator[str]:
    yield "the number of items is "
    yield str(await service.count())


@router.get("/background")
async def count_in_the_background(service: ItemServiceDep, tasks: BackgroundTasks) -> int:
    tasks.add_task(service.count)
    return await service.count()


@router.get("/first-use-in-the-background")
async def count_in_the_background_alone(uow: UOWDep, tasks: BackgroundTasks) -> None:
    tasks.add_task(_count_with, uow)


@router.get("/stream")
async def stream(service: ItemServiceDep) -> StreamingResponse:
    await service.count()
    return StreamingResponse(_counting(service))


@router.get("/generator", dependencies=[Depends(_count_items)])
async def generate(service: ItemServiceDep) -> AsyncIterator[ItemRead]:
    for item in await service.list():
        yield ItemRead.model_validate(item)


@router.get("/events", response_class=EventSourceResponse)
async def generate_events(service: ItemServiceDep) -> AsyncIterator[ItemRead]:
    for item in await service.list():
        yield ItemRead.model_validate(item)


@router.get("/events-beside-the-end", response_class=EventSourceResponse, dependencies=[Depends(_count_items)])
async def generate_events_at_once(service: ItemServiceDep) -> AsyncIterator[ItemRead]:
    """Begin in a task of FastAPI's own, while the unit of work comes to its end."""
    for item in await service.list():
        yield ItemRead.model_validate(item)


async def _answers(store: Store, route: str) -> list[httpx2.Response | BaseException]:
    closing = {"connection": "close"}  # as the server does after an error: it would be gone under the next request
    async with store.server.client(connections=10) as client:
        requests = [client.get(f"/late/{route}", headers=closing) for _ in range(_REQUESTS)]
        return await asyncio.gather(*requests, return_exceptions=True)


@pytest.mark.parametrize("route", ["background", "first-use-in-the-background"])
async def test_a_background_task_is_told_to_open_a_unit_of_work_of_its_own(store: Store, route: str) -> None:
    answers = await _answers(store, route)

    assert [getattr(answer, "status_code", answer) for answer in answers] == [200] * _REQUESTS
    await store.until_nothing_is_left()
    assert len(re.findall("FinishedError: this .* has ended; open a new one", store.log)) == _REQUESTS


@pytest.mark.parametrize("route", ["stream", "generator", "events"])
async def test_a_stream_breaks_off_and_the_log_tells_why(store: Store, route: str) -> None:
    answers = await _answers(store, route)

    assert {type(answer) for answer in answers} == {httpx2.RemoteProtocolError}  # no client takes it for complete
    await store.until_nothing_is_left()
    assert store.log.count("FinishedError: this unit of work has ended; open a new one with `async with`") == _REQUESTS


async def test_a_stream_that_begins_while_the_unit_of_work_ends_is_refused(store: Store) -> None:
    answers = await _answers(store, "events-beside-the-end")

    assert {getattr(answer, "status_code", None) for answer in answers} <= {None, 500}
    await store.until_nothing_is_left()
    told = store.log.count("errors.ConcurrentUseError: ") + store.log.count("errors.FinishedError: ")
    assert told == _REQUESTS
