"""An engine of SQLAlchemy's over a pool that lends something of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine, NullPool
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["engine_lending", "rename_savepoint", "share_info", "verify_pooling"]

_SAVEPOINT = " sa_savepoint_"


def verify_pooling() -> None:
    """Check that the functions of this module can work.

    Raises:
        UnsupportedVersionError: SQLAlchemy has changed.
    """
    options = ("pool", "dialect", "url", "execution_options", "hide_parameters")
    SQLALCHEMY.require(
        Undocumented(Engine, "__init__", options),
        Undocumented(NullPool, "__init__", ("creator", "dialect", "reset_on_return")),
        Undocumented(ConnectionPoolEntry, "info"),
    )


def engine_lending(lend: Callable[[], Any], like: Engine, execution_options: Mapping[str, Any]) -> Engine:
    """Return an engine whose every connection is one that *lend* returns, with the dialect of *like*.

    It calls the constructor of `Engine`. The public `create_engine` makes a dialect of its own, which asks the server about
    itself on a connection, in its own transaction. Without it the transactions of a test could not share one connection.

    Args:
        lend: Returns a connection as a driver would, or what stands in for one.
        like: An engine of the same database.
        execution_options: Those of the new engine.
    """
    pool = NullPool(lend, dialect=like.dialect, reset_on_return=None)
    return Engine(pool, like.dialect, like.url, execution_options=execution_options, hide_parameters=True)


def share_info(entry: ConnectionPoolEntry, info: dict[Any, Any]) -> None:
    """Have *info* be what is kept with the connection of *entry*.

    It replaces `ConnectionPoolEntry.info`, which is documented as readable only. Without it what one transaction of a test
    keeps with its connection, such as its locks, would be unknown to the next.
    """
    vars(entry)["info"] = info


def rename_savepoint(statement: str, prefix: str) -> str:
    """Return *statement* with *prefix* in the name of the savepoint that SQLAlchemy has given it, if it has one.

    It knows that SQLAlchemy numbers the savepoints of each connection as `sa_savepoint_1`, which nothing documents or
    changes. Without it the savepoints of two transactions of a test would have the same name.
    """
    return statement.replace(_SAVEPOINT, f" {prefix}_")
