"""The locks of MariaDB and MySQL, which belong to a session of the server."""

from __future__ import annotations

import math
import time
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

from layered_backend import errors
from layered_backend.dialects.lock_names import lock_label
from layered_backend.dialects.protocols import Locks

__all__ = ["MySQLLocks", "answer", "give_back_locks"]

_LOCKS = "layered_backend_locks"


class MySQLLocks(Locks):
    """Locks a name with GET_LOCK."""

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Take a lock of *connection*'s session, which is given back when the pool gets the connection back.

        That is after the COMMIT, and whatever else ends the transaction; a connection that is lost loses its locks. A lock
        of the transaction would be given back by the first DDL, which commits.
        """
        label = lock_label(str(connection.engine.url.database), name)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not connection.scalar(select(func.get_lock(label, max(0, min(10, deadline - time.monotonic()))))):
            if time.monotonic() >= deadline:
                raise errors.LockTimeoutError(f"another process has held the lock for more than {timeout:g} seconds")
        connection.info.setdefault(_LOCKS, []).append(label)

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        self.lock(connection, name, timeout)
        connection.rollback()
        return True


def give_back_locks(connection: DBAPIConnection, record: ConnectionPoolEntry, state: PoolResetState) -> None:
    """Give back the locks of a connection that goes back to the pool."""
    labels = record.info.pop(_LOCKS, ())
    if record.driver_connection is None or state.terminate_only:
        return  # the server gives them back when it notices the end of the connection
    for label in labels:
        answer(connection, f"SELECT RELEASE_LOCK('{label}')")  # our own letters and digits


def answer(connection: Any, sql: str) -> object:
    """Return the first row that *connection*, the driver's, answers *sql* with, or None."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None
    finally:
        cursor.close()
