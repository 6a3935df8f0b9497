"""A statement does not begin or end the transaction of a unit of work, however it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import DDL, Connection, Executable, column, text
from sqlalchemy.orm import Session

from layered_backend import Outcome, UnitOfWorkError
from tests.databases import Shop, backends_of
from tests.faults.soundness import assert_sound
from tests.shop import ShopUnitOfWork, add_item

STATEMENTS = [
    "COMMIT",
    "/* the end */ -- of it\n commit",
    "ROLLBACK",
    "END",
    "BEGIN",
    "START TRANSACTION",
    "SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "ROLLBACK TO SAVEPOINT a",
    "SET autocommit = 1",
    "PREPARE TRANSACTION 'a'",
]


def _execute(statement: Callable[[str], Executable]) -> Callable[[Session, str], Any]:
    return lambda session, sql: session.execute(statement(sql))


WAYS: dict[str, Callable[[Session, str], Any]] = {
    "text": _execute(text),
    "columns": _execute(lambda sql: text(sql).columns(column("a"))),
    "ddl": _execute(DDL),
    "scalar": lambda session, sql: session.scalar(text(sql)),
    "stream": lambda session, sql: session.execute(text(sql), execution_options={"stream_results": True}),
    "many": lambda session, sql: session.connection().execute(text(sql), [{}, {}]),
    "driver": lambda session, sql: session.connection().exec_driver_sql(sql),
    "no parameters": lambda session, sql: session.connection().exec_driver_sql(
        sql, execution_options={"no_parameters": True}
    ),
}


class _BlockFailedError(Exception):
    """The block fails after the statement."""


@pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))
async def test_it_is_refused_and_changes_nothing(shop: Shop, way: Callable[[Session, str], Any]) -> None:
    async def send_all(uow: ShopUnitOfWork, name: str) -> None:
        await add_item(uow, name)
        for statement in STATEMENTS:
            with pytest.raises(UnitOfWorkError, match="would go past the unit of work"):
                await uow.session.run_sync(way, statement)
        async with uow.savepoint():
            await uow.session.execute(text("SELECT 'COMMIT; ROLLBACK' -- COMMIT"))

    async def fail(uow: ShopUnitOfWork) -> None:
        await send_all(uow, "undone")
        raise _BlockFailedError

    with pytest.raises(_BlockFailedError):
        await shop.run(fail)
    await shop.run(lambda uow: send_all(uow, "saved"))

    assert await shop.names() == ["saved"]
    await assert_sound(shop)


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_nor_does_a_second_statement(shop: Shop) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await add_item(uow, "undone")
        await uow.session.execute(text("SELECT 1; COMMIT"))

    with pytest.raises(UnitOfWorkError, match="COMMIT would go past"):
        await shop.run(work)

    assert units[0].outcome is Outcome.ROLLED_BACK
    assert await shop.names() == []


async def test_a_connection_of_the_application_s_own_may(async_shop: Shop) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("SAVEPOINT a"))
        connection.execute(text("RELEASE SAVEPOINT a"))

    async with async_shop.database.engine.begin() as connection:
        await connection.run_sync(work)
