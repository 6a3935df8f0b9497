"""What this library uses of asyncpg, psycopg and SQLAlchemy's adapters of them beyond what they document."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import psycopg as psycopg_package
import pytest
from sqlalchemy import text

from layered_backend import UnsupportedVersionError
from layered_backend.upstream import asyncpg, psycopg
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
