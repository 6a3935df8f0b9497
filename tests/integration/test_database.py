from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, NullPool, StaticPool, event, select, text
from sqlalchemy.exc import DBAPIError

from layered_backend import (
    Background,
    Database,
    DatabaseUnavailableError,
    ReadOnlyError,
    UniqueViolationError,
    UnitOfWorkError,
    install,
)
from tests.databases import SYNC_BACKENDS, Shop, backends_of, database_at, driver_threads
from tests.shop import Base, Item, ShopUnitOfWork

_SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n"
_ROOT = Path(__file__).parents[2]


def _remember(closed: list[object], connection: object, record: object) -> None:
    closed.append(connection)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "asynchronous", "synchronous"),
        [
            ("sqlite:///shop.db", "sqlite+aiosqlite:///shop.db", "sqlite+pysqlite:///shop.db"),
            ("postgresql://u@h/d", "postgresql+asyncpg://u@h/d", "postgresql+psycopg://u@h/d"),
            ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
            ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u@h/d", "postgresql+psycopg://u@h/d"),
            ("postgresql+psycopg_async://u@h/d", "postgresql+psycopg_async://u@h/d", "postgresql+psycopg://u@h/d"),
            ("mysql://u@h/d", "mysql+asyncmy://u@h/d", "mysql+pymysql://u@h/d"),
            ("mariadb://u@h/d", "mariadb+asyncmy://u@h/d", "mariadb+pymysql://u@h/d"),
        ],
    )
    def test_the_driver_is_chosen_and_a_named_one_is_kept(self, url: str, asynchronous: str, synchronous: str) -> None:
        database = Database(url)

        assert str(database.url) == asynchronous
        assert str(database.sync_url) == synchronous

    def test_the_synchronous_url_may_be_given(self) -> None:
        assert str(Database("postgresql://u@h/d", sync_url="postgresql://u@replica/d").sync_url) == (
            "postgresql+psycopg://u@replica/d"
        )

    def test_an_unsupported_database_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match="oracle:// is not supported; a database URL begins with one of sqlite://"):
            Database("oracle://h/d")

    @pytest.mark.parametrize("url", ["postgresql://h:secret/d", "postgresql://u:a/secret:b@h:secret/d", "secret"])
    def test_what_is_no_url_is_not_repeated(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"one looks like sqlite:///shop\.db") as caught:
            Database(url)

        assert "secret" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:secret@h/d",
            "postgresql://u@h/d?password=secret",
            "postgresql://u:secret@h/d?sslpassword=secret",
            "mariadb://u@h/d?passwd=secret",
        ],
    )
    def test_no_password_is_shown(self, url: str) -> None:
        database = Database(url)

        assert repr(database).endswith("://u:***@h/d')")
        assert {database.url.password, database.sync_url.password} == {"secret"}

    @pytest.mark.parametrize("url", ["postgresql://u@h/d?password=secret", "mariadb://u:secret@h/d"])
    def test_the_engines_show_no_password_either(self, url: str) -> None:
        database = Database(url)

        assert "secret" not in repr(database.engine) + repr(database.sync_engine)

    def test_nothing_is_opened_before_the_first_use(self, tmp_path: Path) -> None:
        Database(f"sqlite:///{tmp_path / 'shop.db'}")

        assert not (tmp_path / "shop.db").exists()

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            (
                "mysql+aiomysql://u@h/d",
                r"^mysql\+aiomysql:// needs the module aiomysql, which is not installed; install it, or write mysql://, "
                r"which uses asyncmy: pip install 'layered-backend\[mysql\]'$",
            ),
            (
                "postgresql+nosuch://u@h/d",
                r"^postgresql\+nosuch:// names a driver that SQLAlchemy does not know; write postgresql://, which uses "
                r"asyncpg: pip install 'layered-backend\[postgresql\]'$",
            ),
        ],
    )
    def test_a_driver_that_is_not_ours_is_an_error_that_says_what_to_write(self, url: str, message: str) -> None:
        with pytest.raises(ModuleNotFoundError, match=message):
            _ = Database(url).engine

    def test_a_missing_driver_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "asyncpg", None)

        with pytest.raises(
            ModuleNotFoundError,
            match=r"^postgresql\+asyncpg:// needs the module asyncpg, .*: pip install 'layered-backend\[postgresql\]'$",
        ):
            _ = Database("postgresql://u@h/d").engine

    def test_a_driver_that_cannot_load_what_it_needs_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available.\\nAttempts made: ...')")
        code = "from layered_backend import Database; Database('postgresql://u@h/d').sync_engine"
        path = os.pathsep.join([str(tmp_path), *sys.path])

        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )

        assert run.stderr.splitlines()[-1] == (
            "ImportError: postgresql+psycopg:// has a driver that cannot be loaded (no pq wrapper available); write "
            "postgresql://, which uses psycopg: pip install 'layered-backend[postgresql]'"
        )

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("postgresql+asyncpg://h/d?sslmode=disable", "has no argument 'sslmode' for the URL; it has ssl"),
            ("postgresql+psycopg://h/d?sslmod=disable", "has no argument 'sslmod' for the URL; it has sslmode"),
            ("postgresql+psycopg_async://h/d?foo=1", "has no argument 'foo' for the URL$"),
            (
                "mysql+asyncmy://h/d?connect_timout=1",
                "has no argument 'connect_timout' for the URL; it has connect_timeout",
            ),
            ("mariadb+asyncmy://h/d?foo=1", "has no argument 'foo' for the URL"),
        ],
    )
    def test_an_argument_that_the_driver_does_not_know_is_refused(self, url: str, told: str) -> None:
        with pytest.raises(ValueError, match=told):
            _ = Database(url).engine

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql+asyncpg://h/d?ssl=disable&prepared_statement_cache_size=5&host=a:1&host=b:2",
            "postgresql+psycopg://h/d?sslmode=disable&options=-c%20a=b",
            "mariadb+asyncmy://h/d?charset=utf8mb4&ssl_ca=ca.pem&unix_socket=a",
        ],
    )
    def test_an_argument_that_the_driver_or_sqlalchemy_knows_is_not(self, url: str) -> None:
        assert Database(url).engine

    def test_a_sqlite_url_with_a_host_is_refused(self) -> None:
        with pytest.raises(ValueError, match="three slashes before the path of the file"):
            Database("sqlite://shop.db")

    def test_a_name_that_only_others_have_for_a_database_is_explained(self) -> None:
        with pytest.raises(ValueError, match=r"^SQLAlchemy has no postgres:// and calls it postgresql://"):
            Database("postgres://u@h/d")

    def test_a_database_in_memory_is_shown_without_what_is_ours(self) -> None:
        assert repr(Database("sqlite://")) == "Database('sqlite+aiosqlite://')"

    def test_a_synchronous_driver_has_no_asynchronous_engine(self) -> None:
        with pytest.raises(
            UnitOfWorkError,
            match=r"^mysql\+pymysql:// has a driver that cannot be awaited; .* with `with`, or write mysql://, .* asyncmy:",
        ):
            _ = Database("mysql+pymysql://u@h/d").engine

    def test_advice_to_install_a_driver_is_given_only_where_that_helps(self) -> None:
        database = Database("postgresql+psycopg2://u@h/d")

        with pytest.raises(
            ModuleNotFoundError, match=r"psycopg2, .* cannot be awaited; write postgresql://, .* asyncpg:"
        ):
            _ = database.engine
        with pytest.raises(ModuleNotFoundError, match=r"psycopg2, .*; install it, or write postgresql://, .* psycopg:"):
            _ = database.sync_engine

    async def test_options_reach_the_engine_beside_the_dialects_own(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'shop.db'}"
        async with Database(url, pool_size=3, connect_args={"cached_statements": 7}) as database:
            await database.ping()
            pool: Any = database.engine.pool
            assert pool.size() == 3


class TestSettingUp:
    async def test_ping_gets_an_answer(self, shop: Shop) -> None:
        if shop.backend.asynchronous:
            await shop.database.ping()
        else:
            await asyncio.to_thread(shop.database.ping_sync)

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:secret@127.0.0.1:1/d",
            "postgresql+psycopg://u:secret@127.0.0.1:1/d",
            "mariadb://u:secret@127.0.0.1:1/d",
            "sqlite:////nowhere/at/all.db",
        ],
    )
    async def test_an_unreachable_database_says_so_and_no_more(self, url: str) -> None:
        threads_before = driver_threads()
        async with Database(url) as database:
            with pytest.raises(DatabaseUnavailableError) as caught:
                await database.ping()
            with pytest.raises(DatabaseUnavailableError):
                await asyncio.to_thread(database.ping_sync)
            with pytest.raises(DatabaseUnavailableError):
                await database.create_all(Base.metadata)
        assert driver_threads() <= threads_before, "a failed connection left its thread behind"

        assert str(caught.value) in {"the database is not available", "the database file cannot be opened"}
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
    async def test_a_missing_database_is_unavailable_too(self, shop: Shop) -> None:
        async with database_at(shop.database.url.set(database="layered_missing")) as database:
            ping = database.ping() if shop.backend.asynchronous else asyncio.to_thread(database.ping_sync)
            with pytest.raises(DatabaseUnavailableError, match=r"no such database|not available"):
                await ping

    async def test_create_all_may_be_repeated(self, shop: Shop) -> None:
        for _ in range(2):
            if shop.backend.asynchronous:
                await shop.database.create_all(Base.metadata)
            else:
                await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)

        assert await shop.run(lambda uow: uow.items.count()) == 0

    @pytest.mark.parametrize("shop", SYNC_BACKENDS, indirect=True, ids=str)
    def test_create_all_is_safe_in_eight_processes_at_once(self, shop_url: str) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", _CREATE_ALL, shop_url], cwd=_ROOT, stderr=subprocess.PIPE
            )
            for _ in range(8)
        ]
        failures = [process.communicate(timeout=60)[1].decode() for process in processes]

        assert [process.returncode for process in processes] == [0] * 8, failures


_CREATE_ALL = """
import sys
from sqlalchemy import MetaData, Table, Column, Integer
from tests.databases import database_at
metadata = MetaData()
for number in range(5):
    Table(f"created_at_once_{number}", metadata, Column("id", Integer, primary_key=True))
with database_at(sys.argv[1]) as database:
    database.create_all_sync(metadata)
"""


@pytest.fixture
async def shop_url(shop: Shop) -> str:
    if shop.backend.server == "sqlite":
        url = shop.database.url.set(database=f"{shop.database.url.database}.new")
        return url.render_as_string(hide_password=False)
    return shop.database.url.render_as_string(hide_password=False)


def _ask(connection: Connection) -> Any:
    return connection.scalar(text("SELECT 1"))


class TestReadingAlone:
    """`Database.read`: a connection for one piece of work, and no transaction."""

    async def test_each_statement_is_a_transaction_of_its_own(self, async_shop: Shop) -> None:
        def add_and_fail(connection: Connection) -> None:
            connection.execute(text("INSERT INTO categories (name) VALUES ('kept')"))
            connection.execute(text("SELECT nothing"))

        with pytest.raises(DBAPIError):
            await async_shop.database.read(add_and_fail)

        assert [c.name for c in await async_shop.run(lambda uow: uow.categories.list())] == ["kept"]

    async def test_an_error_is_the_librarys(self, async_shop: Shop) -> None:
        def violate(connection: Connection) -> None:
            for _ in range(2):
                connection.execute(text("INSERT INTO categories (name) VALUES ('twice')"))

        with pytest.raises(UniqueViolationError):
            await async_shop.database.read(violate)
        assert await async_shop.database.read(_ask) == 1

    @pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "mariadb+asyncmy"])
    async def test_an_unreachable_database_is_unavailable(self, driver: str) -> None:
        async with Database(f"{driver}://nobody@127.0.0.1:1/nothing") as database:
            with pytest.raises(DatabaseUnavailableError):
                await database.read(_ask)

    async def test_the_time_to_wait_for_a_connection_ends(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05}
        async with Database(f"sqlite:///{tmp_path}/shop.db", **options) as database:

            async def hold() -> None:
                await database.read(lambda connection: connection.scalar(text(_SLOW)))

            holding = asyncio.create_task(hold())
            await asyncio.sleep(0.02)
            with pytest.raises(DatabaseUnavailableError, match="no pooled connection became free"):
                await database.read(_ask)
            await holding

    async def test_dispose_closes_its_connections_and_it_can_be_used_again(self, tmp_path: Path) -> None:
        before = driver_threads()
        database = Database(f"sqlite:///{tmp_path}/shop.db")
        for _ in range(2):
            assert await database.read(_ask) == 1
            assert driver_threads() - before
            await database.dispose()
            assert driver_threads() <= before

    async def test_what_a_cancelled_dispose_has_left_is_closed_by_the_next(self, async_shop: Shop) -> None:
        async with database_at(async_shop.database.url) as database:
            await database.ping()
            await database.read(_ask)
            pools: list[Any] = [database.engine.pool, database.engines.autocommit.pool]
            disposing = asyncio.create_task(database.dispose())
            await asyncio.sleep(0)
            disposing.cancel()
            await asyncio.wait([disposing])

            await database.dispose()

        assert [pool.checkedin() for pool in pools] == [0, 0]

    async def test_a_connection_that_is_given_back_after_dispose_is_closed(self, async_shop: Shop) -> None:
        async with database_at(async_shop.database.url) as database:
            closed: list[object] = []
            event.listen(database.engine.sync_engine, "close", partial(_remember, closed))
            async with ShopUnitOfWork(database) as uow:
                await uow.items.count()
                await database.dispose()
                assert closed == []
                await uow.items.count()
            assert len(closed) == 1

    @pytest.mark.parametrize("shop", SYNC_BACKENDS, indirect=True, ids=str)
    async def test_a_connection_that_is_given_back_after_dispose_sync_is_closed(self, shop: Shop) -> None:
        closed: list[object] = []
        event.listen(shop.database.sync_engine, "close", partial(_remember, closed))

        def use() -> None:
            with shop.unit() as uow:
                uow.run(uow.items.count())
                shop.database.dispose_sync()
                assert closed == []
                uow.run(uow.items.count())

        await asyncio.to_thread(use)
        assert len(closed) == 1

    async def test_a_database_in_memory_is_the_same_one(self) -> None:
        async with Database("sqlite://") as database:
            await database.create_all(Base.metadata)
            async with ShopUnitOfWork(database) as uow:
                await uow.categories.create({"name": "drinks"})

            names = await database.read(lambda connection: connection.scalar(text("SELECT name FROM categories")))

        assert names == "drinks"

    async def test_the_execution_options_of_the_engine_hold_too(self, async_shop: Shop) -> None:
        options = {"schema_translate_map": {None: "elsewhere"}}

        async with database_at(async_shop.database.url, execution_options=options) as database:
            with pytest.raises(DBAPIError, match=r"elsewhere\.items"):
                await database.read(lambda connection: connection.scalar(select(Item.name)))

    async def test_an_isolation_level_among_them_opens_no_transaction(self, async_shop: Shop) -> None:
        options = {"isolation_level": "SERIALIZABLE"}

        def options_of(connection: Connection) -> dict[str, Any]:
            return dict(connection.get_execution_options())

        async with database_at(async_shop.database.url, execution_options=options) as database:
            assert "isolation_level" not in await database.read(options_of)
            async with ShopUnitOfWork(database) as uow:
                connection = await uow.session.connection()
                assert await connection.get_isolation_level() == "SERIALIZABLE"

    def test_a_loop_that_ended_without_dispose_leaves_no_thread(self, tmp_path: Path) -> None:
        before = driver_threads()
        database = Database(f"sqlite:///{tmp_path}/shop.db")
        for _ in range(3):
            assert asyncio.run(database.read(_ask)) == 1
        assert len(driver_threads() - before) == 1
        asyncio.run(database.dispose())
        assert driver_threads() <= before


class _SlowToOpen(sqlite3.Connection):
    """A connection that opens when it is told to."""

    is_opening = threading.Event()
    may_open = threading.Event()

    def __init__(self, *args: Any, **options: Any) -> None:
        self.is_opening.set()
        assert self.may_open.wait(timeout=30)
        super().__init__(*args, **options)


@pytest.fixture
def slow_to_open(tmp_path: Path) -> Iterator[Database]:
    """A database whose connections open a moment after the event loop was last seen to wait."""
    _SlowToOpen.is_opening.clear()
    _SlowToOpen.may_open.clear()
    yield Database(f"sqlite:///{tmp_path}/shop.db", connect_args={"factory": _SlowToOpen})
    _SlowToOpen.may_open.set()


@pytest.fixture
def lingering_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every thread take a while to end."""
    run = threading.Thread.run

    def run_and_linger(thread: threading.Thread) -> None:
        run(thread)
        time.sleep(0.1)

    monkeypatch.setattr(threading.Thread, "run", run_and_linger)


class TestWhatDisposeWaitsFor:
    """A thread that outlives its event loop dies with a traceback, which fails these tests as a warning."""

    def test_the_thread_of_each_pooled_connection(self, tmp_path: Path, lingering_threads: None) -> None:
        before = driver_threads()

        async def main() -> None:
            async with Database(f"sqlite:///{tmp_path}/shop.db") as database:
                await asyncio.gather(*(database.ping() for _ in range(3)), database.read(_ask))
                assert driver_threads() - before

        asyncio.run(main())

        assert driver_threads() <= before

    def test_the_thread_of_a_closed_event_loop(self, tmp_path: Path, lingering_threads: None) -> None:
        before = driver_threads()
        database = Database(f"sqlite:///{tmp_path}/shop.db")
        asyncio.run(database.ping())
        assert driver_threads() - before

        asyncio.run(database.dispose())

        assert driver_threads() <= before

    def test_a_connection_that_is_being_opened_for_a_task_that_was_cancelled(self, slow_to_open: Database) -> None:
        before = driver_threads()

        async def main() -> None:
            async with slow_to_open:
                asking = asyncio.create_task(slow_to_open.ping())
                await asyncio.to_thread(_SlowToOpen.is_opening.wait, timeout=30)
                asking.cancel()
                await asyncio.wait([asking])
                asyncio.get_running_loop().call_later(0.1, _SlowToOpen.may_open.set)

        asyncio.run(main())

        assert _SlowToOpen.may_open.is_set()
        assert driver_threads() <= before

    def test_a_statement_whose_task_was_cancelled_as_often_as_it_waited(self, tmp_path: Path) -> None:
        before = driver_threads()

        async def main() -> None:
            async with Database(f"sqlite:///{tmp_path}/shop.db") as database:
                await database.read(_ask)
                reading = asyncio.create_task(database.read(lambda connection: connection.scalar(text(_SLOW))))
                while not reading.done():
                    await asyncio.sleep(0.02)
                    reading.cancel()

        asyncio.run(main())

        assert driver_threads() <= before

    def test_the_end_of_an_application_is_one(self, slow_to_open: Database) -> None:
        before = driver_threads()

        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.count()

        app = FastAPI()
        install(app, ShopUnitOfWork, database=slow_to_open, background=Background(periodic={work: 60}))

        with TestClient(app) as client:
            assert _SlowToOpen.is_opening.wait(timeout=30)
            assert client.portal is not None
            client.portal.call(lambda: asyncio.get_running_loop().call_later(0.1, _SlowToOpen.may_open.set))

        assert driver_threads() <= before

    @pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mariadb+asyncmy"])
    async def test_a_server_that_does_not_answer_is_not_waited_for_long(self, driver: str) -> None:
        is_asked, is_left = asyncio.Event(), asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            is_asked.set()
            while await reader.read(1000):
                pass
            is_left.set()
            writer.close()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Database(f"{driver}://nobody@127.0.0.1:{port}/nothing") as database:
                asking = asyncio.create_task(database.ping())
                await is_asked.wait()
                while not asking.done():
                    asking.cancel()
                    await asyncio.wait([asking], timeout=0.1)
            await asyncio.wait_for(is_left.wait(), timeout=20)  # seconds, of the driver's 60


class TestInMemory:
    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
    async def test_it_is_shared_by_all_units_of_work_one_after_the_other(self, url: str) -> None:
        async with Database(url) as database:
            await database.create_all(Base.metadata)

            async def add(name: str) -> None:
                async with ShopUnitOfWork(database) as uow:
                    await uow.items.create({"name": name, "price": 1})
                    await asyncio.sleep(0.001)

            await asyncio.gather(*(add(f"item {number}") for number in range(10)))
            async with ShopUnitOfWork(database) as uow:
                assert await uow.items.count() == 10

    async def test_two_are_apart(self) -> None:
        async with Database("sqlite://") as one, Database("sqlite://") as other:
            await one.create_all(Base.metadata)
            async with ShopUnitOfWork(other) as uow:
                with pytest.raises(Exception, match="no such table"):
                    await uow.session.execute(text("SELECT * FROM items"))
                await uow.rollback()

    async def test_it_survives_the_loss_of_its_connection(self) -> None:
        async with Database("sqlite://") as database:
            await database.create_all(Base.metadata)
            async with ShopUnitOfWork(database) as uow:
                await uow.items.count()
                await uow.session.run_sync(lambda session: session.connection().invalidate())
                await uow.rollback()

            async with ShopUnitOfWork(database) as uow:
                assert await uow.items.count() == 0

    async def test_with_and_async_with_cannot_share_it(self) -> None:
        async with Database("sqlite://") as database:
            await database.ping()
            with pytest.raises(UnitOfWorkError, match=r"use a file, such as sqlite:///shop\.db"):
                await asyncio.to_thread(database.ping_sync)

    async def test_it_can_be_used_in_another_thread(self) -> None:
        def count(database: Database) -> int:
            with ShopUnitOfWork(database) as uow:
                return uow.run(uow.items.count())

        with Database("sqlite://") as database:
            database.create_all_sync(Base.metadata)
            assert await asyncio.to_thread(count, database) == 0

    def test_with_alone_can_use_it(self) -> None:
        with Database("sqlite://") as database:
            database.create_all_sync(Base.metadata)
            with ShopUnitOfWork(database) as uow:
                assert uow.run(uow.items.count()) == 0

    async def test_it_is_empty_after_dispose(self) -> None:
        database = Database("sqlite://")
        await database.create_all(Base.metadata)
        await database.dispose()
        await database.create_all(Base.metadata)
        async with ShopUnitOfWork(database) as uow:
            assert await uow.items.count() == 0
        await database.dispose()


class TestEventLoops:
    def test_a_database_outlives_the_loop_that_used_it_first(self, servers: Any) -> None:
        database = database_at(servers.url("postgresql").set(drivername="postgresql+asyncpg"))

        async def count() -> int:
            async with ShopUnitOfWork(database) as uow:
                return await uow.items.count()

        async def count_and_dispose() -> int:
            async with database:
                return await count()

        async def use_twice() -> None:
            assert await asyncio.to_thread(asyncio.run, count()) == 0
            assert await asyncio.to_thread(asyncio.run, count_and_dispose()) == 0
            gc.collect()

        with pytest.warns(ResourceWarning):  # of asyncpg, for the connection that its loop left open
            asyncio.run(use_twice())

    @pytest.mark.parametrize("deferred_begin", [False, True])
    async def test_no_engine_outlives_its_loop_for_long(self, asyncpg_shop: Shop, deferred_begin: bool) -> None:
        database = database_at(asyncpg_shop.database.url, deferred_begin=deferred_begin)

        async def use_once() -> None:
            async with database:
                async with ShopUnitOfWork(database, read_only=True) as uow:
                    await uow.items.count()
                await database.read(_ask)

        async def engines_after(runs: int) -> int:
            for _ in range(runs):
                await asyncio.to_thread(asyncio.run, use_once())
            gc.collect()
            return sum(isinstance(each, Engine) for each in gc.get_objects())

        assert await engines_after(10) == await engines_after(1)

    async def test_each_of_two_live_loops_has_its_own_connections(self, async_shop: Shop) -> None:
        async def count() -> int:
            async with async_shop.unit() as uow:
                return await uow.items.count()

        async def count_and_dispose() -> int:
            try:
                return await count()
            finally:
                await async_shop.database.engine.dispose()

        assert await count() == 0
        assert await asyncio.to_thread(asyncio.run, count_and_dispose()) == 0
        assert await count() == 0

    @pytest.mark.parametrize("url", ["sqlite://", "file"])
    def test_tasks_wait_for_a_pooled_connection_in_the_second_loop_too(self, tmp_path: Path, url: str) -> None:
        url = url if url == "sqlite://" else f"sqlite:///{tmp_path / 'shop.db'}"
        options: dict[str, Any] = {} if url == "sqlite://" else {"pool_size": 1, "max_overflow": 0}
        database = Database(url, **options)

        async def count() -> int:
            async with ShopUnitOfWork(database) as uow:
                return await uow.items.count()

        async def count_four_times() -> list[int]:
            await database.create_all(Base.metadata)
            return await asyncio.gather(*(count() for _ in range(4)))

        async def count_and_dispose() -> list[int]:
            async with database:
                return await count_four_times()

        assert asyncio.run(count_four_times()) == [0] * 4
        assert asyncio.run(count_and_dispose()) == [0] * 4


class BusyCursor(sqlite3.Cursor):
    """Is told twice that the database is locked, at once, as SQLite tells one of two that change the journal's mode."""

    refusals = 2

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        if sql == "PRAGMA journal_mode = WAL" and BusyCursor.refusals:
            BusyCursor.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorname = "SQLITE_BUSY"
            raise error
        return super().execute(sql, parameters)


class BusyConnection(sqlite3.Connection):
    def cursor(self, factory: Any = BusyCursor) -> Any:
        return super().cursor(factory)


class TestSQLite:
    def test_a_pool_of_the_callers_own_is_taken_as_it_is(self) -> None:
        with Database("sqlite://", poolclass=StaticPool) as database:
            database.ping_sync()

    def test_a_file_that_cannot_be_written_is_read_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "shop.db"
        with Database(f"sqlite:///{path}") as database:
            database.create_all_sync(Base.metadata)
            with database.sync_engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA journal_mode = DELETE")
        with Database(f"sqlite:///file:{path}?mode=ro&uri=true") as database:
            with ShopUnitOfWork(database, read_only=True) as uow:
                assert uow.run(uow.items.count()) == 0
            with pytest.raises(ReadOnlyError, match="or the database is read-only"), ShopUnitOfWork(database) as uow:
                uow.run(uow.items.create({"name": "tea", "price": 1}))

    def test_the_write_ahead_log_is_turned_on_although_another_process_does_the_same(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'shop.db'}"
        with Database(url, connect_args={"factory": BusyConnection}) as database, ShopUnitOfWork(database) as uow:
            assert uow.run(uow.session.scalar(text("PRAGMA journal_mode"))) == "wal"

        assert BusyCursor.refusals == 0

    async def test_foreign_keys_and_the_write_ahead_log_are_on(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            assert await uow.session.scalar(text("PRAGMA foreign_keys")) == 1
            assert await uow.session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert await uow.session.scalar(text("PRAGMA synchronous")) == 1

    async def test_readers_do_not_wait_for_a_writer(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as writer:
            await writer.items.create({"name": "tea", "price": 1})
            reader = sqlite_shop.unit()
            reader.begins_deferred = True
            async with reader:
                assert await reader.items.count() == 0
            async with sqlite_shop.unit(read_only=True) as read_only:
                assert await read_only.items.count() == 0

    async def test_a_read_modify_write_loses_nothing(self, sqlite_shop: Shop) -> None:
        await sqlite_shop.run(lambda uow: uow.meters.create({"serial": 1, "reading": 0}))

        async def increment() -> None:
            for _ in range(10):
                async with sqlite_shop.unit() as uow:
                    meter = await uow.meters.get(1)
                    await asyncio.sleep(0)
                    await uow.meters.update(meter, {"reading": meter.reading + 1})

        await asyncio.gather(*(increment() for _ in range(4)))

        assert (await sqlite_shop.run(lambda uow: uow.meters.get(1))).reading == 40


async def test_the_same_database_without_a_pool_keeps_no_connection(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'shop.db'}", pool_size=2, max_overflow=0, pool_timeout=1) as pooled:
        alone = pooled.unpooled()
        await alone.ping()
        alone.ping_sync()

        assert (alone.url, alone.sync_url) == (pooled.url, pooled.sync_url)
        assert isinstance(alone.engine.sync_engine.pool, NullPool)
        assert isinstance(alone.sync_engine.pool, NullPool)
