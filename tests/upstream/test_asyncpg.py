"""What this library uses of asyncpg, psycopg and SQLAlchemy's adapters of them beyond what they document."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import psycopg as psycopg_package
import pytest
from sqlalchemy import Connection, text

from layered_backend import UnsupportedVersionError
from layered_backend.upstream import asyncpg, psycopg
from layered_backend.upstream.sqlalchemy.asyncpg_adapter import (
    connection_of,
    has_begun,
    isolation_level_of,
    needs_begin,
    withheld_begin,
)
from tests.databases import Shop, backends_of, database_at
from tests.upstream.hiding import hide

package: Any = import_module("asyncpg")  # which has no types
_SYNC_PSYCOPG = [each for each in backends_of("postgresql") if not each.asynchronous]


def test_the_installed_releases_have_what_is_used() -> None:
    asyncpg.verify()


async def test_a_release_that_adapts_otherwise_is_refused_when_the_database_is_opened(
    asyncpg_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection

    hide(monkeypatch, AsyncAdapt_asyncpg_connection, "autocommit")

    with pytest.raises(
        UnsupportedVersionError, match=r"^sqlalchemy .* has no AsyncAdapt_asyncpg_connection\.autocommit"
    ):
        _ = database_at(asyncpg_shop.database.url).engine


async def test_statements_outside_of_a_transaction_send_no_begin(asyncpg_shop: Shop) -> None:
    def is_in_transaction(connection: Any) -> bool:
        adapted = connection.connection.dbapi_connection
        with asyncpg.outside_transaction(adapted):
            cursor = adapted.cursor()
            cursor.execute("SELECT 1")
            cursor.close()
            began: bool = adapted.driver_connection.is_in_transaction()
        return began

    async with asyncpg_shop.database.engine.connect() as connection:
        assert not await connection.run_sync(is_in_transaction)
        await connection.execute(text("INSERT INTO countries (code, name) VALUES ('x', 'x')"))
        raw: Any = (await connection.get_raw_connection()).driver_connection
        assert raw.is_in_transaction()


async def test_begin_is_withheld_from_one_statement_alone(asyncpg_shop: Shop) -> None:
    def send(connection: Connection) -> None:
        adapted: Any = connection.connection.dbapi_connection
        cursor = adapted.cursor()
        assert connection_of(cursor) is adapted
        with withheld_begin(cursor):
            cursor.execute("SELECT 1")
        assert not adapted.driver_connection.is_in_transaction()
        assert (has_begun(connection), needs_begin(cursor)) == (False, False)
        cursor.execute("SELECT 1")
        assert adapted.driver_connection.is_in_transaction()
        assert (has_begun(connection), needs_begin(cursor)) == (True, True)
        cursor.close()

    async with asyncpg_shop.database.engine.connect() as connection:
        await connection.run_sync(send)


@pytest.mark.parametrize(
    ("options", "level", "is_needed"),
    [
        ({}, "READ COMMITTED", False),
        ({"isolation_level": "REPEATABLE READ"}, "REPEATABLE READ", False),
        ({"postgresql_readonly": True}, "READ COMMITTED", True),
    ],
)
async def test_the_kind_of_a_transaction_is_known_before_it_begins(
    asyncpg_shop: Shop, options: dict[str, Any], level: str, is_needed: bool
) -> None:
    def look(connection: Connection) -> None:
        adapted: Any = connection.connection.dbapi_connection
        plain, streaming = adapted.cursor(), adapted.cursor(server_side=True)
        assert isolation_level_of(plain, "READ COMMITTED") == level
        assert (needs_begin(plain), needs_begin(streaming)) == (is_needed, True)

    async with asyncpg_shop.database.engine.connect() as connection:
        await connection.execution_options(**options)
        await connection.run_sync(look)


def test_an_answer_that_is_broken_off_is_an_error_of_that_class() -> None:
    assert asyncpg.is_broken_off(package.InternalClientError("cannot switch to state 11"))
    assert not asyncpg.is_broken_off(package.InterfaceError("x"))


@pytest.mark.parametrize("shop", _SYNC_PSYCOPG, indirect=True, ids=str)
async def test_a_value_that_psycopg_cannot_write_is_told_from_other_mistakes(shop: Shop) -> None:
    def execute(statement: str, value: object) -> BaseException:
        connection = shop.database.sync_engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute(statement, (value,))
        except psycopg_package.Error as error:
            return error
        finally:
            connection.close()
        raise AssertionError

    assert psycopg.is_refused_value(await asyncio.to_thread(execute, "SELECT %s", object()))
    assert not psycopg.is_refused_value(await asyncio.to_thread(execute, "SELEC %s", 1))


def test_a_missing_password_is_told_from_a_server_that_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)

    def connect(port: int) -> BaseException:
        with pytest.raises(psycopg_package.OperationalError) as caught:
            psycopg_package.connect(
                f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable gssencmode=disable passfile=/dev/null"
            )
        return caught.value

    with _asking_for_a_password() as port:
        assert psycopg.is_without_password(connect(port))
    assert not psycopg.is_without_password(connect(port))


@contextmanager
def _asking_for_a_password() -> Generator[int]:
    """Answer one connection on the yielded port as PostgreSQL does where it asks for a password."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"R" + struct.pack("!ii", 8, 3))  # AuthenticationCleartextPassword
                connection.recv(1_000)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
