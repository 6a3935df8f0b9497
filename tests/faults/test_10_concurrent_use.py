"""Guarantee 10: two tasks that use one unit of work at once are told, by name, and its connection stays sound."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import InterfaceError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from layered_backend import ConcurrentUseError, Database, FinishedError, UnitOfWorkError
from tests.databases import Shop, backends_of
from tests.faults.slow import slow_rows
from tests.faults.soundness import assert_sound
from tests.shop import Base, ShopUnitOfWork, add_item

Call = Callable[[ShopUnitOfWork, AsyncConnection], Awaitable[Any]]

# Ways to reach the database through one unit of work; each waits for it at least once.
CALLS: dict[str, Call] = {
    "a repository": lambda uow, _: uow.items.count(),
    "a commit": lambda uow, _: uow.commit(),
    "a flush": lambda uow, _: add_item(uow, "coffee"),
    "a connection taken from the session": lambda _, connection: connection.execute(text("SELECT 1")),
    "a statement of the driver": lambda _, connection: connection.exec_driver_sql("SELECT 1"),
}


@pytest.mark.parametrize("second", CALLS)
@pytest.mark.parametrize("first", CALLS)
async def test_of_two_calls_at_once_one_is_refused_and_names_both_tasks(
    async_shop: Shop, first: str, second: str
) -> None:
    async def at_once() -> list[Any]:
        async with async_shop.unit() as uow:
            await add_item(uow, "tea")  # so that there is something to commit
            connection = await uow.session.connection()
            calls = [
                asyncio.create_task(_awaited(CALLS[kind](uow, connection)), name=name)
                for kind, name in ((first, "one"), (second, "two"))
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            await uow.items.count()
            return results

    results = await at_once()

    refused = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in refused] == [ConcurrentUseError], results
    assert {"one", "two"} <= set(re.findall(r"one|two", str(refused[0])))
    await assert_sound(async_shop)


async def test_a_refused_call_leaves_the_other_task_to_save_its_work(async_shop: Shop) -> None:
    async with async_shop.unit() as uow:
        await add_item(uow, "tea")
        results = await asyncio.gather(add_item(uow, "coffee"), uow.items.count(), return_exceptions=True)

    assert isinstance(results[1], ConcurrentUseError)
    assert await async_shop.names() == ["tea", "coffee"]


async def test_a_call_beside_the_fetch_of_a_streamed_result_is_refused(async_shop: Shop) -> None:
    async with async_shop.unit() as uow:
        stream = await uow.session.stream(slow_rows(async_shop.backend.server))
        fetching = asyncio.create_task(stream.fetchall(), name="one")
        await asyncio.sleep(0.05)
        with pytest.raises(ConcurrentUseError, match=r"task 'two' used .* in which task 'one' had a call under way"):
            await asyncio.create_task(uow.items.count(), name="two")

        assert len(await fetching) == 200


@pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
async def test_a_statement_beside_a_streamed_result_is_refused_where_it_would_cost_the_rest_of_it(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> list[Any]:
        stream = await uow.session.run_sync(
            lambda session: session.execute(slow_rows("mariadb"), execution_options={"stream_results": True})
        )
        first = await uow.session.run_sync(lambda _: stream.fetchone())
        with pytest.raises(UnitOfWorkError, match="read it to its end, or close it"):
            await uow.items.count()
        rest = await uow.session.run_sync(lambda _: stream.fetchall())
        assert await uow.items.count() == 0
        return [first, *rest]

    assert [number for _, number, _ in await shop.run(work)] == [*range(1, 201)]


async def test_a_streamed_result_ends_with_the_transaction(async_shop: Shop) -> None:
    async with async_shop.unit() as uow:
        stream = await uow.session.stream(slow_rows(async_shop.backend.server))
        await stream.fetchone()
        await uow.commit()
        assert await uow.items.count() == 0
        other = await uow.session.stream(slow_rows(async_shop.backend.server))
        await other.fetchone()

    await assert_sound(async_shop)  # while both results are still there
    with pytest.raises((FinishedError, ResourceClosedError, InterfaceError)):
        await other.fetchall()
    await assert_sound(async_shop)


@pytest.mark.parametrize("verb", ["commit", "rollback"])
async def test_a_connection_taken_from_the_session_ends_nothing(shop: Shop, verb: str) -> None:
    def end(session: Session) -> None:
        getattr(session.connection(), verb)()

    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        with pytest.raises(UnitOfWorkError, match=rf"connection\.{verb}\(\) would go past the unit of work"):
            await uow.session.run_sync(end)
        raise KeyError

    with pytest.raises(KeyError):
        await shop.run(work)

    assert await shop.names() == []


async def test_two_threads_at_once_are_refused_by_name(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
        await asyncio.to_thread(_use_from_two_threads, database)


def _use_from_two_threads(database: Database) -> None:
    refused: list[Exception] = []
    may_ask, has_asked = threading.Event(), threading.Event()

    def ask_beside(uow: ShopUnitOfWork) -> None:
        may_ask.wait(10)
        try:
            uow.run(uow.items.count())
        except ConcurrentUseError as error:
            refused.append(error)
        has_asked.set()

    def wait_for_the_other(*_: object) -> None:
        may_ask.set()
        has_asked.wait(10)

    database.create_all_sync(Base.metadata)
    with ShopUnitOfWork(database) as uow:
        thread = threading.Thread(target=ask_beside, args=(uow,), name="the other")
        thread.start()
        event.listen(uow.session.sync_session, "before_flush", wait_for_the_other)
        uow.run(add_item(uow, "tea"))
        thread.join()

    assert len(refused) == 1
    assert str(refused[0]).startswith("thread 'the other' used a unit of work in which thread ")


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
