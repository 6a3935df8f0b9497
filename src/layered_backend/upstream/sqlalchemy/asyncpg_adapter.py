"""SQLAlchemy's adapter of asyncpg, which sends BEGIN by itself before the first statement."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["can_withhold_begin", "connection_of", "has_begun", "isolation_level_of", "needs_begin", "withheld_begin"]


@cache
def can_withhold_begin() -> bool:
    """Tell whether BEGIN can be withheld; where it cannot, a WARNING says so once."""
    from sqlalchemy.dialects.postgresql import asyncpg  # it is needed for this driver alone

    connection = asyncpg.AsyncAdapt_asyncpg_connection
    return SQLALCHEMY.offers(
        "deferred BEGIN",
        Undocumented(connection, "_transaction"),
        Undocumented(connection, "_isolation_setting"),
        Undocumented(connection, "autocommit"),
        Undocumented(connection, "readonly"),
        Undocumented(asyncpg.AsyncAdapt_asyncpg_cursor, "_adapt_connection"),
        Undocumented(asyncpg.AsyncAdapt_asyncpg_cursor, "server_side"),
    )


def connection_of(cursor: Any) -> Any:
    """Return the adapted connection that *cursor* belongs to.

    It reads `_adapt_connection`; the public `do_execute` event has the cursor alone. Without it BEGIN cannot be deferred.
    """
    return cursor._adapt_connection


def has_begun(connection: Connection) -> bool:
    """Tell whether BEGIN was sent on *connection*.

    It reads `_transaction` of the adapter; `Connection.in_transaction` is true before BEGIN is sent. Without it a unit
    of work that has only read would send a COMMIT that nobody needs.
    """
    adapted: Any = connection.connection.dbapi_connection
    return adapted._transaction is not None


def needs_begin(cursor: Any) -> bool:
    """Tell whether the statement of *cursor* needs BEGIN whatever it says: BEGIN was sent, or it streams, or only reads.

    It reads `_transaction`, `readonly` and `server_side` of the adapter. Read-only is a promise that only the database can
    keep, as a view's function may write; a stream needs a cursor, and that a transaction. Without it BEGIN cannot be
    deferred.
    """
    adapted = connection_of(cursor)
    return adapted._transaction is not None or adapted.readonly or cursor.server_side


def isolation_level_of(cursor: object, default: str | None) -> str:
    """Return the isolation level of the connection that *cursor* belongs to, as SQL calls it.

    It reads `_isolation_setting` of the adapter; `Connection.get_isolation_level` asks the server. Without it BEGIN cannot
    be deferred.

    Args:
        cursor: The adapter's.
        default: The engine's own level.
    """
    level: str = connection_of(cursor)._isolation_setting or default or ""
    return level.replace("_", " ").upper()


@contextmanager
def withheld_begin(cursor: object) -> Generator[None]:
    """Keep the adapter from sending BEGIN before the statement of *cursor*, in the block.

    It sets `autocommit` of the adapter for one statement; the public isolation level AUTOCOMMIT is one of the whole
    transaction. Without it BEGIN cannot be deferred.
    """
    adapted = connection_of(cursor)
    adapted.autocommit = True
    try:
        yield
    finally:
        adapted.autocommit = False
