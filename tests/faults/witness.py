"""The database, as seen from outside the server that works on it."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from tests import shop
from tests.faults import orders
from tests.faults.soundness import assert_nothing_open

__all__ = ["Witness"]

_TABLES: Sequence[MetaData] = (shop.Base.metadata, orders.Base.metadata)
_PATIENCE = 30  # seconds


class Witness:
    """A synchronous way to the database that shares nothing with the server. Each question has a connection of its own.

    Args:
        url: The database, with a synchronous driver.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def create_tables(self) -> None:
        for metadata in _TABLES:
            metadata.create_all(self._engine)

    def run(self, sql: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(sql))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    @contextmanager
    def holding(self, lock: str) -> Generator[None]:
        """Hold a lock of the whole MariaDB server, against other runs of these tests."""
        with self._engine.connect() as connection:
            while not connection.scalar(select(func.get_lock(lock, 10))):  # seconds, then ask again
                pass
            yield

    def count(self, table: str) -> int:
        ((number,),) = self.rows(f"SELECT count(*) FROM {table}")  # noqa: S608  # our own names
        return int(number)

    def empty(self) -> None:
        """Delete all rows."""
        with self._engine.connect() as connection:
            for metadata in _TABLES:
                _empty(connection, metadata)

    def assert_nothing_open(self) -> None:
        """Assert that no transaction is open, on SQLite not even one that reads, once its clients have had a moment to end."""
        if self.url.get_backend_name() != "sqlite":
            assert_nothing_open("postgresql" if self.url.get_backend_name() == "postgresql" else "mariadb", self.url)
            return
        deadline = time.monotonic() + _PATIENCE
        while locks := self._locks():
            assert time.monotonic() < deadline, f"left open: {locks}"
            time.sleep(0.01)

    def _locks(self) -> list[str]:
        """Return which locks of SQLite another process holds: a full checkpoint waits for readers and for writers."""
        with closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            is_complete = cursor.fetchall()[0][0] == 0
        return [] if is_complete else ["a reader or a writer"]


def _empty(connection: Connection, metadata: MetaData) -> None:
    names = [table.name for table in reversed(metadata.sorted_tables)]
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"TRUNCATE {', '.join(names)}"))
        return
    if connection.dialect.name != "sqlite":
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
    for name in names:
        connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608  # our own names
