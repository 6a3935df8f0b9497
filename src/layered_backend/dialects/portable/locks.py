"""Locks of a database that has none with a name: a row of a table, which a transaction holds until it ends."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from layered_backend.dialects.lock_names import lock_label
from layered_backend.dialects.protocols import Locks
from layered_backend.errors import LayeredError, LockTimeoutError

__all__ = ["PortableLocks"]

_TABLE = Table("layered_backend_locks", MetaData(), Column("name", String(64), primary_key=True))


class PortableLocks(Locks):
    """Locks the row of that name in the table `layered_backend_locks`, which is made when it is first needed.

    The database decides how long a statement waits for a row: *timeout* does not shorten it. Where CREATE TABLE commits,
    make the table beforehand: its one column is `name`, a VARCHAR(64) and the primary key.
    """

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        label = lock_label(name)
        if not inspect(connection).has_table(_TABLE.name):
            # Another process may be making it as well. The database then has this one wait until the other's transaction
            # has ended, which is what the lock is for, and refuses the second table or row.
            with suppress(DBAPIError, LayeredError), connection.begin_nested():
                _TABLE.create(connection)
        if connection.scalar(select(_TABLE.c.name).where(_TABLE.c.name == label)) is None:
            with suppress(DBAPIError, LayeredError), connection.begin_nested():
                connection.execute(insert(_TABLE).values(name=label))
        if not connection.execute(update(_TABLE).where(_TABLE.c.name == label).values(name=label)).rowcount:
            raise LockTimeoutError(f"another process has added the lock to {_TABLE.name} meanwhile; try again")

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        return False
