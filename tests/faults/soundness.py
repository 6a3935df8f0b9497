"""What must be true of a database after any fault: nothing is left open, and the next one works."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from functools import partial

import sqlalchemy
from sqlalchemy import URL, NullPool, make_url, text

from tests.databases import SERVERS, Shop

__all__ = ["assert_nothing_open", "assert_sound"]

_DEADLINE = 10  # seconds
_OPEN_TRANSACTIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND state <> 'idle' AND pid <> pg_backend_pid()",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx AS t"
    " JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id WHERE p.db = :name",
}


async def assert_sound(shop: Shop) -> None:
    """Assert that no connection is out, no transaction open and no lock held, and that a unit of work succeeds."""
    assert shop.checked_out == 0, "a connection was not given back"
    await asyncio.to_thread(assert_nothing_open, shop.backend.server, shop.database.url)
    await shop.run(lambda uow: uow.countries.create({"code": "zz", "name": "written after the fault"}))
    await shop.run(lambda uow: uow.countries.delete("zz"))


def assert_nothing_open(server: str, url: URL) -> None:
    """Assert that no transaction is open in the database at *url*, once its clients have had a moment to end."""
    if server == "sqlite":
        _assert_write_lock_is_free(str(url.database))
        return
    own = make_url(SERVERS[server]).set(database=url.database)  # past a pooler
    engine = sqlalchemy.create_engine(own, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    open_transactions = partial(_count, engine, _OPEN_TRANSACTIONS[server], str(url.database))
    deadline = time.monotonic() + _DEADLINE
    while open_transactions() and time.monotonic() < deadline:  # a server takes a moment to see that a client is gone
        time.sleep(0.02)
    assert open_transactions() == 0, "a transaction is still open"


def _assert_write_lock_is_free(path: str) -> None:
    # Nobody waits for the end of a transaction that has only read: its thread takes a moment.
    connection = sqlite3.connect(path, timeout=_DEADLINE, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _count(engine: sqlalchemy.Engine, sql: str, name: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(sql), {"name": name}).scalar_one())
