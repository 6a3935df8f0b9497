"""No unit of work is on a connection that commits each statement by itself, whoever has asked for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from layered_backend import Database, RolledBackError, UnitOfWorkError
from tests.databases import ASYNC_BACKENDS, SYNC_BACKENDS, Shop, backends_of
from tests.shop import ShopUnitOfWork, add_item

ON_SERVERS = backends_of("postgresql", "mariadb")


@pytest.mark.parametrize("backend", [*ASYNC_BACKENDS, *SYNC_BACKENDS], ids=str)
@pytest.mark.parametrize("value", [True, 1, None, "1"])
def test_the_driver_s_argument_is_refused(backend: Any, value: Any) -> None:
    url = f"{backend.server}+{backend.driver}://"
    with pytest.raises(ValueError, match=r"autocommit="):
        Database(url, connect_args={"autocommit": value})
    with pytest.raises(ValueError, match=r"autocommit="):
        Database(f"{url}/?autocommit={value}")

    Database(url, connect_args={"autocommit": False})


@pytest.mark.parametrize("shop", ON_SERVERS, indirect=True, ids=str)
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_connection_that_a_listener_has_set_to_it_is_refused(shop: Shop, read_only: bool) -> None:
    engine = shop.database.engine.sync_engine if shop.backend.asynchronous else shop.database.sync_engine

    def set_autocommit(connection: Any, _record: object) -> None:
        if shop.backend.server == "mariadb":
            connection.autocommit(True)
        else:
            connection.autocommit = True

    async def work(uow: ShopUnitOfWork) -> None:
        with pytest.raises(UnitOfWorkError, match="cannot be set to AUTOCOMMIT"):
            await add_item(uow, "tea")
        await add_item(uow, "coffee")

    event.listen(engine, "connect", set_autocommit)
    with pytest.raises(RolledBackError):
        await shop.run(work, read_only=read_only)
    event.remove(engine, "connect", set_autocommit)
    await shop.database.dispose()

    assert await shop.names() == []


@pytest.mark.parametrize("read_only", [False, True])
async def test_an_isolation_level_that_is_set_later_is_refused_too(shop: Shop, read_only: bool) -> None:
    uow = shop.unit(read_only=read_only)
    uow.isolation_level = "autocommit"

    with pytest.raises(ValueError, match="cannot be AUTOCOMMIT"):
        await uow.__aenter__()
    with pytest.raises(ValueError, match="cannot be AUTOCOMMIT"):
        shop.database.session(isolation_level="AUTOCOMMIT")


class _BlockFailedError(Exception):
    """The block fails after its statement."""


@pytest.mark.parametrize("shop", backends_of("sqlite"), indirect=True, ids=str)
async def test_sqlite_s_own_level_none_is_a_transaction_all_the_same(shop: Shop) -> None:
    async def fail(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "tea")
        raise _BlockFailedError

    async with Database(shop.database.url, connect_args={"isolation_level": None}) as database:
        with pytest.raises(_BlockFailedError):
            await Shop(shop.backend, database).run(fail)

    assert await shop.names() == []
