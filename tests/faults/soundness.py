"""What must be true of a database after any fault: nothing is left open, and the next one works."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import sqlalchemy
from sqlalchemy import URL, Connection, NullPool, make_url, text
from sqlalchemy.exc import OperationalError

from tests.databases import SERVERS, Shop

__all__ = ["assert_nothing_open", "assert_sound"]

_DEADLINE = 30  # seconds
_BUSY_ON_POSTGRESQL = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
    " AND state <> 'idle' AND pid <> pg_backend_pid()"
)
_TABLES_OF_MARIADB = text("SELECT table_name FROM information_schema.tables WHERE table_schema = :name")


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
    with engine.connect() as connection:
        if server == "mariadb":
            _assert_tables_are_free(connection, str(url.database))
        else:
            _assert_nobody_is_busy(connection, str(url.database))


def _assert_write_lock_is_free(path: str) -> None:
    # Nobody waits for the end of a transaction that has only read: its thread takes a moment.
    connection = sqlite3.connect(path, timeout=_DEADLINE, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _assert_tables_are_free(connection: Connection, database: str) -> None:
    # A transaction holds each table that it has read until it ends. The server's list of transactions is no witness: it is
    # made anew only after nobody has read it for 0.1 seconds, so that who waits for it to change reads the old one forever.
    tables = connection.execute(_TABLES_OF_MARIADB, {"name": database}).scalars().all()
    if not tables:
        return
    connection.execute(text(f"SET lock_wait_timeout = {_DEADLINE}"))
    try:
        connection.execute(text("LOCK TABLES " + ", ".join(f"`{table}` WRITE" for table in tables)))
    except OperationalError as error:
        raise AssertionError("a transaction is still open") from error
    connection.execute(text("UNLOCK TABLES"))


def _assert_nobody_is_busy(connection: Connection, database: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while connection.execute(_BUSY_ON_POSTGRESQL, {"name": database}).scalar_one():
        assert time.monotonic() < deadline, "a transaction is still open"
        time.sleep(0.02)  # a server takes a moment to see that a client is gone
