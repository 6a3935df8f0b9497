"""The advisory locks of PostgreSQL."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select

from layered_backend import errors
from layered_backend.dialects.lock_names import lock_number
from layered_backend.dialects.protocols import Locks

__all__ = ["PostgreSQLLocks"]

_TIME_LIMITS: Sequence[str] = ("lock_timeout", "statement_timeout")
_PAUSE = 0.1  # seconds between two requests for a lock


class PostgreSQLLocks(Locks):
    """Locks a number that is made of the name."""

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Take an advisory lock, whatever time limits the server sets.

        One of the transaction, not of the session: behind PgBouncer the session is another one at the next statement.
        Rolling back to a savepoint gives back what was locked after it.
        """
        limits = connection.execute(select(*(func.current_setting(name) for name in _TIME_LIMITS))).one()
        before: dict[str, Any] = dict(zip(_TIME_LIMITS, limits, strict=True))
        patience = 0 if timeout is None else max(1, round(timeout * 1000))  # ms; 0 is no limit
        _set_for_transaction(connection, {"lock_timeout": f"{patience}ms", "statement_timeout": "0"})
        connection.execute(select(func.pg_advisory_xact_lock(lock_number(name))))
        _set_for_transaction(connection, before)

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        """Ask for an advisory lock of the session until it is given; the thread sleeps in between.

        A connection that waited in a statement would have a snapshot meanwhile, which CREATE INDEX CONCURRENTLY waits
        for: the two would wait for each other.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        asked_for = select(func.pg_try_advisory_lock(lock_number(name)))
        while not _answer_alone(connection, asked_for):
            if time.monotonic() >= deadline:
                raise errors.LockTimeoutError(f"another process has held the lock for more than {timeout:g} seconds")
            time.sleep(_PAUSE)
        return True


def _answer_alone(connection: Connection, statement: Select[Any]) -> object:
    """Return what *statement* selects, in a transaction of its own."""
    answer = connection.scalar(statement)
    connection.rollback()
    return answer


def _set_for_transaction(connection: Connection, settings: Mapping[str, Any]) -> None:
    connection.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))
