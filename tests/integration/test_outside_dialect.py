"""The repository's tests again, on a database that only its own, registered dialect knows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.dialects import registry as sqlalchemys

from layered_backend import Database, LockTimeoutError, ReadOnlyError, UnitOfWorkError
from layered_backend.dialects import registry
from layered_backend.testing import in_one_transaction_sync
from tests import plainsqlite
from tests.databases import Backend, Shop
from tests.integration import (
    test_bulk,
    test_bulk_keys,
    test_bulk_rows,
    test_by_key,
    test_pages,
    test_repository,
)
from tests.repeated import repeated_tests
from tests.samples import with_samples
from tests.shop import Base, Item, ShopUnitOfWork

_BACKENDS = (Backend(plainsqlite.NAME, "aiosqlite"), Backend(plainsqlite.NAME, "pysqlite", asynchronous=False))


async def _shop_on(backend: Backend, folder: Path) -> AsyncGenerator[Shop]:
    path = folder / "shop.db"
    async with Database(f"{plainsqlite.NAME}:///{path}", pool_size=2, max_overflow=0) as database:
        if backend.asynchronous:
            await database.create_all(Base.metadata)
        else:
            database.create_all_sync(Base.metadata)
        yield Shop(backend, database)
        assert Shop(backend, database).checked_out == 0, "a connection was not given back"


@pytest.fixture(params=_BACKENDS, ids=str)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Shop]:
    async for shop in _shop_on(request.param, tmp_path):
        yield shop


@pytest.fixture(params=_BACKENDS[:1], ids=str)
async def async_shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Shop]:
    async for shop in _shop_on(request.param, tmp_path):
        yield shop


@pytest.fixture
async def mapped(shop: Shop) -> AsyncGenerator[Shop]:
    async for prepared in with_samples(shop):
        yield prepared


globals().update(repeated_tests(test_bulk, test_bulk_keys, test_bulk_rows, test_by_key, test_pages, test_repository))

_ALONE = """
import asyncio, sys
from tests.plainsqlite import NAME
from tests.shop import Base, Country, ShopUnitOfWork
from layered_backend import Database, ReadOnlyError

async def main():
    async with Database(f"{NAME}:///{sys.argv[1]}") as database:
        await database.create_all(Base.metadata)
        async with ShopUnitOfWork(database) as uow:
            await uow.countries.upsert({"code": "NL", "name": "Netherlands"}, on=Country.code)

asyncio.run(main())
shipped = [each for each in sys.modules if each.startswith("layered_backend.dialects.")]
print(*sorted({each.split(".")[2] for each in shipped} & {"sqlite", "postgresql", "mysql"}))
"""


def test_a_dialect_from_outside_imports_no_shipped_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(tmp_path / "shop.db")], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM items",
        "WITH cheap AS (SELECT id FROM items) DELETE FROM items WHERE id IN (SELECT id FROM cheap)",
        "WITH gone AS (\nDELETE FROM items RETURNING id) SELECT id FROM gone",
        "WITH cheap AS (SELECT 'x' AS name) INSERT INTO categories (name) SELECT name FROM cheap",
    ],
)
async def test_a_write_is_refused_in_a_read_only_unit_of_work(shop: Shop, statement: str) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        with pytest.raises(ReadOnlyError):
            await uow.session.execute(text(statement))

    await shop.run(work, read_only=True)


async def test_a_query_is_sent_in_a_read_only_unit_of_work(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        cheap = select(Item.id).where(Item.price < 1).cte()
        await uow.session.execute(select(Item).where(Item.id.in_(select(cheap.c.id))))
        await uow.items.list()

    await shop.run(work, read_only=True)


_LOCKS = "layered_backend_locks"


class _CountingTransactions(plainsqlite.PlainTransactions):
    """Transactions that cannot be made without an argument."""

    def __init__(self, checked: list[str]) -> None:
        self._checked = checked

    def check_at_commit(self, connection: Any) -> None:
        self._checked.append("commit")


def test_a_part_that_is_made_with_an_argument_is_used_in_a_test_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    dialect = replace(plainsqlite.DIALECT, transactions=_CountingTransactions(checked))
    monkeypatch.setattr(registry, "_registered", {plainsqlite.NAME: dialect})
    database = Database(f"{plainsqlite.NAME}:///{tmp_path / 'shop.db'}")
    database.create_all_sync(Base.metadata)

    with in_one_transaction_sync(database), ShopUnitOfWork(database) as uow:
        assert uow.run(uow.items.count()) == 0
    database.dispose_sync()

    assert checked == ["commit"]


def test_a_dialect_that_sqlalchemy_calls_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {"othersqlite": plainsqlite.DIALECT})
    sqlalchemys.register("othersqlite.pysqlite", plainsqlite.__name__, "PlainPysqlite")

    with pytest.raises(
        ValueError, match=r"dialect of othersqlite:// has the name 'plainsqlite'; .* give it the name 'othersqlite'"
    ):
        _ = Database("othersqlite://").sync_engine


class TestLocks:
    """The lock that every database has, where the database refuses a part of it."""

    @pytest.mark.parametrize(
        ("action", "subject", "problem"),
        [
            (sqlite3.SQLITE_CREATE_TABLE, _LOCKS, f"the table {_LOCKS} cannot be made: not authorized. If"),
            (sqlite3.SQLITE_SAVEPOINT, "BEGIN", f"the table {_LOCKS} cannot be made: not authorized. If .* savepoints"),
            (sqlite3.SQLITE_INSERT, _LOCKS, f"the lock 'create_all' cannot be added to {_LOCKS}: not authorized. If"),
        ],
        ids=["table", "savepoint", "row"],
    )
    def test_what_the_database_refuses_is_told_with_its_cause(
        self, tmp_path: Path, action: int, subject: str, problem: str
    ) -> None:
        def answer(*asked: Any) -> int:
            return sqlite3.SQLITE_DENY if asked[:2] == (action, subject) else sqlite3.SQLITE_OK

        def forbid(connection: Any, _: object) -> None:
            connection.set_authorizer(answer)

        with Database(f"{plainsqlite.NAME}:///{tmp_path / 'shop.db'}") as database:
            event.listen(database.sync_engine, "connect", forbid)
            with pytest.raises(UnitOfWorkError, match=problem) as caught:
                database.create_all_sync(Base.metadata)

        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize(("answer", "told"), [("IGNORE", ""), ("ABORT, 'taken'", r" \(.*\)")])
    async def test_a_row_that_another_process_has_added_is_worth_a_new_attempt(
        self, shop: Shop, answer: str, told: str
    ) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.session.execute(
                text(f"CREATE TRIGGER taken BEFORE INSERT ON layered_backend_locks BEGIN SELECT RAISE({answer}); END")
            )
            locks = shop.database.dialect.locks
            with pytest.raises(LockTimeoutError, match=f"has added the lock 'a test' to .* meanwhile{told}; try again"):
                await uow.session.run_sync(lambda session: locks.lock(session.connection(), "a test"))

        await shop.run(work)
