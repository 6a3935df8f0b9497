from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

from layered_backend.coroutines import at_once, uninterrupted


async def _finish(done: list[str], ticks: int = 5) -> str:
    for _ in range(ticks):
        await asyncio.sleep(0)
    done.append("done")
    return "result"


async def test_it_returns_the_result() -> None:
    assert await uninterrupted(_finish([])) == "result"


async def test_errors_come_through() -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await uninterrupted(fail())


@pytest.mark.parametrize("cancels", [1, 2, 5])
async def test_a_cancellation_waits_for_the_end(cancels: int) -> None:
    done: list[str] = []
    task = asyncio.create_task(uninterrupted(_finish(done)))
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert done == ["done"]


async def test_a_cancel_scope_of_anyio_waits_too() -> None:
    done: list[str] = []
    with anyio.move_on_after(0):
        await uninterrupted(_finish(done))

    assert done == ["done"]


async def test_a_timeout_still_becomes_a_timeout() -> None:
    done: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await uninterrupted(_finish(done))

    assert done == ["done"]


async def test_an_error_under_a_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise KeyError("of the end")

    task = asyncio.create_task(uninterrupted(fail()))
    await asyncio.sleep(0)
    task.cancel()
    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        await task

    assert "of the end" in caplog.text


async def test_a_task_that_is_cancelled_before_it_begins_leaves_nobody_waiting() -> None:
    async def end() -> None:
        await asyncio.sleep(0)

    async def cancel_the_others() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task(), parent}:
            task.cancel()

    parent = asyncio.current_task()
    waiting = asyncio.create_task(uninterrupted(end()))
    await asyncio.sleep(0)
    await cancel_the_others()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_waits_for_nothing_is_done_without_a_task() -> None:
    async def end() -> asyncio.Task[object] | None:
        return asyncio.current_task()

    assert await at_once(end()) is asyncio.current_task()


@pytest.mark.parametrize("cancels", [0, 1, 2, 5])
async def test_what_waits_after_all_comes_to_its_end(cancels: int) -> None:
    done: list[str] = []
    task = asyncio.create_task(at_once(_finish(done)))
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait({task})

    assert done == ["done"]
    assert task.cancelled() == (cancels > 0)


async def test_errors_of_what_waits_after_all_come_through() -> None:
    async def fail() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.gather(_divide())
        raise KeyError

    async def _divide() -> float:
        await asyncio.sleep(0)
        return 1 / 0

    with pytest.raises(KeyError):
        await at_once(fail())
