"""What this library uses of aiosqlite, and of SQLAlchemy's adapter of it, beyond what they document."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import aiosqlite as package
import pytest
from sqlalchemy import Dialect, event, text
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from layered_backend import Database, InvalidDataError, Outcome, UniqueViolationError, UnsupportedVersionError
from layered_backend.upstream import aiosqlite
from layered_backend.upstream.sqlalchemy import aiosqlite_adapter
from layered_backend.upstream.sqlalchemy.concurrency import run_in_greenlet
from tests.databases import Shop, driver_threads
from tests.shop import add_item
from tests.upstream.hiding import hide

_DIALECT = SQLiteDialect_aiosqlite()


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncGenerator[Any]:
    connection = await aiosqlite.connect(_DIALECT, tmp_path / "shop.db", isolation_level=None)
    yield connection
    await connection.close()


@pytest.fixture
def _asks_again() -> Iterator[None]:
    aiosqlite_adapter.is_offered.cache_clear()
    yield
    aiosqlite_adapter.is_offered.cache_clear()


async def test_work_in_the_thread_is_done_in_the_order_in_which_it_was_given(connection: Any) -> None:
    done: list[str] = []
    aiosqlite.leave_to_thread(connection, lambda: done.append(threading.current_thread().name))

    def work(suffix: str) -> str:
        done.append(threading.current_thread().name)
        return suffix

    answer = await aiosqlite.execute_in_thread(connection, work, "!")

    assert answer == "!"
    assert done[0] == done[1]
    assert done[0] in driver_threads()


async def test_an_error_of_the_work_is_that_of_the_await(connection: Any) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await aiosqlite.execute_in_thread(connection, lambda: aiosqlite.sqlite_connection(connection).execute("SELEC"))


async def test_a_closed_connection_is_told_from_an_open_one(tmp_path: Path) -> None:
    connection = await aiosqlite.connect(_DIALECT, tmp_path / "shop.db")
    assert isinstance(aiosqlite.open_connection(connection), sqlite3.Connection)

    await connection.close()

    assert aiosqlite.open_connection(connection) is None
    with pytest.raises(ValueError, match="no active connection"):
        aiosqlite.sqlite_connection(connection)


async def test_a_connection_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    before = driver_threads()

    with pytest.raises(sqlite3.OperationalError):
        await aiosqlite.connect(_DIALECT, tmp_path / "missing" / "shop.db")

    assert driver_threads() <= before


async def test_a_connection_of_sqlalchemys_adapter_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'shop.db'}")
    asked: list[object] = []

    @event.listens_for(engine.sync_engine, "do_connect")
    def _connect_cleanly(dialect: Dialect, _: object, __: object, options: dict[str, Any]) -> None:
        aiosqlite.connect_cleanly(dialect, options)
        asked.append(options["async_creator_fn"])

    before = driver_threads()
    with pytest.raises(OperationalError):
        await engine.connect()

    assert len(asked) == 1
    assert driver_threads() <= before


async def test_the_end_of_a_thread_can_be_waited_for(tmp_path: Path) -> None:
    before = driver_threads()
    connection: Any = await aiosqlite.connect(_DIALECT, tmp_path / "shop.db")
    assert not driver_threads() <= before

    connection.stop()
    aiosqlite.join_thread(connection)

    assert driver_threads() <= before


async def test_the_adapter_knows_whether_its_transaction_has_changed_rows(tmp_path: Path) -> None:
    adapted = await run_in_greenlet(
        aiosqlite_adapter.connected,
        _DIALECT.import_dbapi(),
        aiosqlite.connect(_DIALECT, tmp_path / "shop.db", isolation_level=None),
    )
    assert isinstance(adapted, aiosqlite_adapter.SingleTripConnection)

    def send(statement: str) -> bool:
        adapted.cursor().execute(statement)
        return adapted.only_reads

    await run_in_greenlet(send, "CREATE TABLE items (name)")
    adapted.begin(["BEGIN"])
    assert await run_in_greenlet(send, "SELECT name FROM items")
    assert not await run_in_greenlet(send, "INSERT INTO items VALUES ('tea')")
    await run_in_greenlet(adapted.close)


async def test_a_connection_that_is_stopped_twice_answers(tmp_path: Path) -> None:
    connection = await aiosqlite.connect(_DIALECT, tmp_path / "shop.db")

    await connection.stop()

    assert connection.stop() is None


async def test_a_connection_that_nobody_has_any_more_leaves_no_thread(tmp_path: Path) -> None:
    cycle: list[Any] = [await aiosqlite.connect(_DIALECT, tmp_path / "shop.db")]
    cycle.append(cycle)  # so that weak references die before `__del__` is called
    thread = cycle[0]._thread
    await asyncio.sleep(0)  # the event loop still has it

    del cycle
    with pytest.warns(ResourceWarning, match="was deleted before being closed"):
        gc.collect()

    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_connection_that_is_never_closed_keeps_no_process_alive(tmp_path: Path) -> None:
    async def threads() -> list[threading.Thread]:
        before = {*threading.enumerate()}
        connection = await aiosqlite.connect(_DIALECT, tmp_path / "shop.db")
        opened = [each for each in threading.enumerate() if each not in before]
        await connection.close()
        return opened

    assert all(thread.daemon for thread in asyncio.run(threads()))


def test_a_refused_value_is_told_from_other_mistakes() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(sqlite3.Error) as refused:
            connection.execute("SELECT ?", (object(),))
        with pytest.raises(sqlite3.Error) as other:
            connection.execute("SELECT ?", ())
    finally:
        connection.close()

    assert aiosqlite.is_refused_value(refused.value)
    assert not aiosqlite.is_refused_value(other.value)


@pytest.mark.usefixtures("_asks_again")
def test_the_installed_releases_have_what_is_used(caplog: pytest.LogCaptureFixture) -> None:
    aiosqlite.verify()

    assert aiosqlite_adapter.is_offered()
    assert all(use.is_present for use in aiosqlite.cursor_trip_uses())
    assert caplog.messages == []


def test_a_release_without_a_thread_is_refused_when_the_database_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, package.Connection, "_thread")

    with pytest.raises(UnsupportedVersionError, match=r"^aiosqlite .* has no Connection\._thread"):
        _ = Database("sqlite:///shop.db").engine


@pytest.mark.usefixtures("_asks_again")
class TestWithoutTheAcceleration:
    """SQLAlchemy's own adapter is used, with a BEGIN of its own; what the database promises is the same."""

    @pytest.fixture(params=["_execute", "_tx", "_connection"])
    def _taken_away(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        hide(monkeypatch, package.Connection, request.param)

    @pytest.mark.usefixtures("_taken_away")
    async def test_one_warning_says_so(self, sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(2):
            async with sqlite_shop.unit() as uow:
                await add_item(uow, str(number))
            await sqlite_shop.database.dispose()

        (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert message.startswith("reaching aiosqlite's thread once for each statement is switched off: aiosqlite 0.")
        assert await sqlite_shop.names() == ["0", "1"]

    @pytest.mark.usefixtures("_taken_away")
    async def test_transactions_begin_and_end_as_they_should(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            await add_item(uow, "kept")
        undone = sqlite_shop.unit()
        with pytest.raises(UniqueViolationError):
            async with undone:
                await add_item(undone, "undone")
                await add_item(undone, "kept")
        with pytest.raises(InvalidDataError):
            await sqlite_shop.run(lambda uow: uow.session.execute(text("SELECT :value"), {"value": object()}))

        assert (uow.outcome, undone.outcome) == (Outcome.COMMITTED, Outcome.ROLLED_BACK)
        assert await sqlite_shop.names() == ["kept"]
