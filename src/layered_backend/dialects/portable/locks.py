"""Locks of a database that has none with a name: a row of a table, which a transaction holds until it ends."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from layered_backend.dialects.lock_names import lock_label
from layered_backend.dialects.protocols import Locks
from layered_backend.errors import LockTimeoutError

__all__ = ["PortableLocks"]

_TABLE = Table("layered_backend_locks", MetaData(), Column("name", String(64), primary_key=True))


class PortableLocks(Locks):
    """Locks the row of that name in the table `layered_backend_locks`, which is made when it is first needed.

    The database decides how long a statement waits for a row: *timeout* does not shorten it.
    """

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        label = lock_label(name)
        if not _has_row(connection, label):
            _add_row(connection, label)
        if not connection.execute(update(_TABLE).where(_TABLE.c.name == label).values(name=label)).rowcount:
            raise LockTimeoutError(f"the table {_TABLE.name} has no row for this lock, and none could be added")

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        return False


def _has_row(connection: Connection, label: str) -> bool:
    if not inspect(connection).has_table(_TABLE.name):
        return False
    return connection.scalar(select(_TABLE.c.name).where(_TABLE.c.name == label)) is not None


def _add_row(connection: Connection, label: str) -> None:
    """Commit the row on a connection of its own: others can only wait for a row that they see.

    It is not taken from the pool, which may have none to give. Another process may be adding the row as well.
    """
    engine = connection.engine
    alone = Engine(engine.pool.recreate(), engine.dialect, engine.url)
    try:
        with suppress(DBAPIError), alone.begin() as other:
            _TABLE.create(other)
        with suppress(DBAPIError), alone.begin() as other:
            other.execute(insert(_TABLE).values(name=label))
    finally:
        alone.dispose()
