"""Time limits for connections and statements, which every driver calls by another name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text

from layered_backend import Database, DatabaseUnavailableError, StatementTimeoutError
from layered_backend.dialects import dialect_named
from tests.databases import SERVERS, Backend, Shop, backends_of
from tests.shop import Base

_SLEEP = {"postgresql": "SELECT pg_sleep(20)", "mariadb": "SELECT SLEEP(20)"}
_LIMIT = {"postgresql": "SHOW statement_timeout", "mariadb": "SELECT @@max_statement_time"}
_ASYNCHRONOUS = [backend for backend in backends_of("postgresql", "mariadb") if backend.asynchronous]
_SERVERS = pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)


def _limited(shop: Shop, **options: Any) -> Shop:
    """Return the test domain with *options*, past PgBouncer, behind which there are no limits."""
    server = make_url(SERVERS[shop.backend.server])
    return Shop(shop.backend, Database(shop.database.url.set(host=server.host, port=server.port), **options))


async def _dispose(shop: Shop) -> None:
    await (shop.database.dispose() if shop.backend.asynchronous else asyncio.to_thread(shop.database.dispose_sync))


async def _scalar(shop: Shop, sql: str) -> Any:
    return await shop.run(lambda uow: uow.session.scalar(text(sql)))


class TestStatements:
    @_SERVERS
    async def test_a_statement_over_the_limit_is_ended_and_the_connection_stays(self, shop: Shop) -> None:
        limited = _limited(shop, statement_timeout=0.3, pool_size=1, max_overflow=0)

        with pytest.raises(StatementTimeoutError, match="took too long"):
            await _scalar(limited, _SLEEP[shop.backend.server])

        assert await _scalar(limited, "SELECT 1") == 1
        await _dispose(limited)

    @pytest.mark.parametrize("shop", _ASYNCHRONOUS, indirect=True, ids=str)
    async def test_a_read_without_a_transaction_has_the_limit_too(self, shop: Shop) -> None:
        limited = _limited(shop, statement_timeout=0.3)

        with pytest.raises(StatementTimeoutError):
            await limited.database.read(lambda connection: connection.scalar(text(_SLEEP[shop.backend.server])))

        await _dispose(limited)

    @_SERVERS
    async def test_the_limit_is_in_seconds(self, shop: Shop) -> None:
        limited = _limited(shop, statement_timeout=2.5)

        assert str(await _scalar(limited, _LIMIT[shop.backend.server])) in {"2500ms", "2.5"}
        await _dispose(limited)

    async def test_mariadb_that_is_called_mysql_has_it_too(self, servers: Any) -> None:
        url: URL = servers.url("mariadb")
        async with Database(url.set(drivername="mysql"), statement_timeout=0.3) as database:
            with pytest.raises(StatementTimeoutError):
                await database.read(lambda connection: connection.scalar(text(_SLEEP["mariadb"])))

    @pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
    async def test_settings_of_the_callers_own_stay_beside_it_and_go_before_it(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = {"server_settings": {"application_name": "shop"}}, {"options": "-c application_name=shop"}
        longer = {"server_settings": {"statement_timeout": "7000"}}, {"options": "-c statement_timeout=7000"}
        is_psycopg = shop.backend.driver == "psycopg"
        named = _limited(shop, statement_timeout=5, connect_args=mine[is_psycopg])
        overridden = _limited(shop, statement_timeout=5, connect_args=longer[is_psycopg])

        assert await _scalar(named, "SHOW application_name") == "shop"
        assert await _scalar(named, "SHOW statement_timeout") == "5s"
        assert await _scalar(overridden, "SHOW statement_timeout") == "7s"
        for each in (named, overridden):
            await _dispose(each)
        if is_psycopg:
            monkeypatch.setenv("PGOPTIONS", "-c application_name=from_environment")
            from_environment = _limited(shop, statement_timeout=5)
            assert await _scalar(from_environment, "SHOW application_name") == "from_environment"
            await _dispose(from_environment)

    @pytest.mark.parametrize("shop", _ASYNCHRONOUS, indirect=True, ids=str)
    async def test_waiting_for_the_lock_of_all_processes_is_no_statement_that_takes_too_long(self, shop: Shop) -> None:
        limited = _limited(shop, statement_timeout=0.3)
        locks = dialect_named(shop.database.url.get_backend_name()).locks
        holds, done = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with shop.unit() as uow:
                await uow.session.run_sync(lambda session: locks.lock(session.connection(), "create_all"))
                holds.set()
                await done.wait()

        holder = asyncio.create_task(hold())
        await holds.wait()
        waiter = asyncio.create_task(limited.database.create_all(Base.metadata))
        finished, _ = await asyncio.wait({waiter}, timeout=1)
        done.set()
        await asyncio.gather(holder, waiter)

        assert not finished
        await _dispose(limited)

    def test_sqlite_has_no_limit_and_says_so(self) -> None:
        with pytest.raises(ValueError, match="sqlite:// has no statement_timeout; leave it out"):
            Database("sqlite:///shop.db", statement_timeout=5)

    def test_behind_pgbouncer_it_is_the_servers_to_set(self) -> None:
        with pytest.raises(ValueError, match=r"ALTER ROLE \.\.\. SET statement_timeout"):
            Database("postgresql://u@h/d", pgbouncer=True, statement_timeout=5)

    @pytest.mark.parametrize("name", ["connect_timeout", "statement_timeout"])
    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 2_147_484, 1e18])
    def test_no_time_is_no_limit(self, name: str, seconds: float) -> None:
        options: dict[str, Any] = {name: seconds}

        with pytest.raises(ValueError, match=f"{name}= is a number of seconds above 0, and 2147483 at most"):
            Database("postgresql://u@h/d", **options)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port whose listener has as many waiting as it takes, so that whoever comes next is not answered at all."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]


class TestConnecting:
    @pytest.mark.parametrize("backend", backends_of("postgresql", "mariadb"), ids=str)
    async def test_who_is_not_answered_gives_up_after_the_timeout(self, backend: Backend, busy_port: int) -> None:
        url = make_url(f"{backend.server}+{backend.driver}://u:secret@127.0.0.1:{busy_port}/d")
        database = Database(url, connect_timeout=0.2)
        ping = database.ping() if backend.asynchronous else asyncio.to_thread(database.ping_sync)

        with pytest.raises(DatabaseUnavailableError):
            await asyncio.wait_for(ping, 20)  # without the limit, asyncpg waits for 60 seconds and psycopg for 130

    @pytest.mark.parametrize("attributes", [None, "primary", "prefer-standby"])
    @pytest.mark.parametrize("backend", backends_of("postgresql"), ids=str)
    async def test_the_next_host_is_tried_where_one_does_not_answer(
        self, backend: Backend, busy_port: int, attributes: str | None
    ) -> None:
        real = make_url(SERVERS["postgresql"])
        url = real.set(drivername=f"postgresql+{backend.driver}", host=None, port=None).update_query_dict(
            {"host": [f"127.0.0.1:{busy_port}", f"{real.host}:{real.port}"]}
        )
        connect_args = {"target_session_attrs": attributes} if attributes else {}
        database = Database(url, connect_timeout=0.2, connect_args=connect_args)

        async with database:
            await (database.ping() if backend.asynchronous else asyncio.to_thread(database.ping_sync))
            database.dispose_sync()

    @pytest.mark.parametrize(
        ("url", "arguments"),
        [
            ("postgresql+asyncpg://h/d", {"timeout": 2.5}),
            ("postgresql+psycopg://h/d", {"connect_timeout": 3}),
            ("mariadb+asyncmy://h/d", {"connect_timeout": 2.5}),
            ("mysql+pymysql://h/d", {"connect_timeout": 2.5}),
            ("sqlite+aiosqlite:///shop.db", {}),
        ],
    )
    def test_each_driver_is_told_in_its_own_word(self, url: str, arguments: dict[str, float]) -> None:
        parsed = make_url(url)

        assert dialect_named(parsed.get_backend_name()).connections.connect_timeout_arguments(parsed, 2.5) == arguments

    def test_a_driver_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(ValueError, match="knows the drivers asyncpg and psycopg, not pg8000"):
            Database("postgresql+pg8000://h/d", connect_timeout=5)
