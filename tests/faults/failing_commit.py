"""A request whose statements all succeed and whose COMMIT fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx2
from fastapi import APIRouter, BackgroundTasks, Depends
from sqlalchemy.exc import OperationalError

from layered_backend import UOWDep, get_repository
from tests.faults.journal import journal
from tests.faults.orders import OrderLineRepository
from tests.faults.store import Store
from tests.faults.witness import Witness

__all__ = ["FailedCommit", "fail_a_commit", "router"]

_PATIENCE = 20  # seconds

router = APIRouter()
gate = asyncio.Event()


@router.post("/lines-of-no-order", status_code=201)
async def add_line_of_no_order(
    uow: UOWDep,
    lines: Annotated[OrderLineRepository, Depends(get_repository(OrderLineRepository))],
    tasks: BackgroundTasks,
    waits: bool = False,
) -> None:
    """Write a line whose foreign key is checked at COMMIT, where the database does that."""
    tasks.add_task(journal.note, "background task")
    uow.on_commit(lambda: journal.note("hook"))
    await lines.create({"order_id": 99, "number": 1})
    journal.note("written")
    if waits:
        await gate.wait()
        gate.clear()


@router.post("/gate")
async def open_gate() -> None:
    gate.set()


@dataclass(frozen=True)
class FailedCommit:
    """What came of such a request.

    Attributes:
        answer: The response.
        journal: What the server did, in order.
    """

    answer: httpx2.Response
    journal: list[str]


async def fail_a_commit(store: Store) -> FailedCommit:
    """Send a request whose COMMIT fails: for a deferred foreign key or, on MariaDB, because the server writes no more."""
    async with store.server.client() as client:
        if store.backend.server != "mariadb":
            answer = await client.post("/lines-of-no-order")
            return FailedCommit(answer, await store.journal())
        request = asyncio.create_task(client.post("/lines-of-no-order", params={"waits": True}))
        before = await store.until_noted("written")
        with _read_only(store.witness):
            await client.post("/gate")
            answer = await request
        return FailedCommit(answer, before + await store.journal())


@contextmanager
def _read_only(witness: Witness) -> Generator[None]:
    """Let MariaDB refuse what ordinary users write, COMMIT included, as where another server takes over."""
    try:
        _refuse_writes(witness)
        yield
    finally:
        witness.run("SET GLOBAL read_only = 0")


def _refuse_writes(witness: Witness) -> None:
    """Set the variable, in short attempts: while it waits for a statement of another client, all others wait for it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            witness.run("SET STATEMENT lock_wait_timeout = 1 FOR SET GLOBAL read_only = 1")
        except OperationalError:
            if time.monotonic() > deadline:
                raise
        else:
            return
