"""What becomes of a COMMIT that fails, or that nobody hears the answer to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, MetaData, text
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    CommitUnknownError,
    DatabaseUnavailableError,
    ForeignKeyViolationError,
    Outcome,
    RolledBackError,
)
from layered_backend.models import NAMING_CONVENTION
from layered_backend.session import GuardedSyncSession
from tests.databases import Shop, backends_of
from tests.shop import ShopUnitOfWork, add_item


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Parent(Base):
    __tablename__ = "deferred_parents"

    id: Mapped[int] = mapped_column(primary_key=True)


class Child(Base):
    """A child whose parent may come later, but not after the commit."""

    __tablename__ = "deferred_children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("deferred_parents.id", deferrable=True, initially="DEFERRED"))


@pytest.fixture
async def deferring(shop: Shop) -> AsyncGenerator[Shop]:
    """A database that checks foreign keys at COMMIT."""
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield shop
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


@pytest.mark.parametrize("shop", backends_of("sqlite", "postgresql"), indirect=True, ids=str)  # MariaDB defers none
async def test_a_deferred_foreign_key_fails_at_the_commit_and_leaves_a_working_pool(deferring: Shop) -> None:
    units: list[ShopUnitOfWork] = []
    hooks: list[int] = []

    async def orphan(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        uow.on_commit(lambda: hooks.append(1))
        await BaseRepository(uow.session, Child).create({"id": 1, "parent_id": 99})

    async def family(uow: ShopUnitOfWork) -> None:
        await BaseRepository(uow.session, Child).create({"id": 1, "parent_id": 1})
        await BaseRepository(uow.session, Parent).create({"id": 1})

    for _ in range(2):
        with pytest.raises(ForeignKeyViolationError):
            await deferring.run(orphan)
    with pytest.raises(ForeignKeyViolationError) as caught:
        await deferring.run(orphan)

    assert (caught.value.constraint, caught.value.table, caught.value.columns) == (
        "fk_deferred_children_parent_id_deferred_parents",
        "deferred_children",
        ("parent_id",),
    )
    assert {unit.outcome for unit in units} == {Outcome.ROLLED_BACK}
    assert hooks == []
    await deferring.run(family)
    assert await deferring.run(lambda uow: BaseRepository(uow.session, Child).count()) == 1


_OWN_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
_KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL CONNECTION {}"}


async def _kill(shop: Shop, uow: ShopUnitOfWork) -> None:
    """End the connection of *uow* from another one."""
    server = shop.backend.server
    number = await uow.session.scalar(text(_OWN_NUMBER[server]))
    killer = text(_KILL[server].format(number))
    if shop.backend.asynchronous:
        await shop.run(lambda other: other.session.execute(killer))
    else:
        with shop.database.sync_engine.connect() as other:
            other.execute(killer)


@pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_connection_lost_before_the_commit_is_heard_of_leaves_the_outcome_unknown(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []
    hooks: list[int] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        uow.on_commit(lambda: hooks.append(1))
        await uow.items.create({"name": "tea", "price": 1})
        await _kill(shop, uow)

    with pytest.raises(CommitUnknownError, match="not known") as caught:
        await shop.run(work)

    assert isinstance(caught.value.__cause__, DatabaseUnavailableError)
    assert units[0].outcome is Outcome.UNKNOWN
    assert hooks == []
    assert await shop.run(lambda uow: uow.items.count()) == 0


@pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_connection_lost_at_a_statement_rolls_back(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await uow.items.create({"name": "tea", "price": 1})
        await _kill(shop, uow)
        await uow.items.count()

    async def swallow(uow: ShopUnitOfWork) -> None:
        with pytest.raises(DatabaseUnavailableError):
            await work(uow)
        with pytest.raises(RolledBackError):
            await uow.items.count()

    with pytest.raises(DatabaseUnavailableError):
        await shop.run(work)
    with pytest.raises(RolledBackError):
        await shop.run(swallow)

    assert {unit.outcome for unit in units} == {Outcome.ROLLED_BACK}
    assert await shop.run(lambda uow: uow.items.count()) == 0


async def test_a_cancellation_during_the_commit_comes_after_it(
    async_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    units: list[ShopUnitOfWork] = []
    hooks: list[int] = []

    async def work() -> None:
        async with async_shop.unit() as uow:
            units.append(uow)
            uow.on_commit(lambda: hooks.append(1))
            await uow.items.create({"name": "tea", "price": 1})

    task = asyncio.create_task(work())
    end = GuardedSyncSession.end_transaction

    def end_while_being_cancelled(session: Any, *, commit: bool) -> None:
        asyncio.get_running_loop().call_soon(task.cancel)
        end(session, commit=commit)

    monkeypatch.setattr(GuardedSyncSession, "end_transaction", end_while_being_cancelled)
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()

    assert units[0].outcome is Outcome.COMMITTED
    assert hooks == [1]
    assert await async_shop.run(lambda uow: uow.items.count()) == 1


class _BrokenStream:
    """A streamed result whose cursor the driver cannot close."""

    opened_at = 1

    def end(self) -> Exception:
        return RuntimeError("the cursor is gone")


async def test_what_an_earlier_commit_has_saved_makes_no_later_hook_due(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []
    hooks: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "tea")
        await uow.commit()
        await add_item(uow, "coffee")
        uow.on_commit(lambda: hooks.append("ran"))
        uow.session.state.streams.add(_BrokenStream())

    with pytest.raises(RolledBackError):
        await shop.run(work)

    assert hooks == []
    assert [uow.outcome for uow in units] == [Outcome.ROLLED_BACK]
    assert await shop.names() == ["tea"]
