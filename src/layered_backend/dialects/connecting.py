"""Opening connections with what their driver knows, and replacing those that were lost while they rested."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = ["refuse_unknown_arguments", "replace_lost_connections"]

_RESTS = "layered_backend_rests_since"
_TRUSTED = 0.1  # seconds


def refuse_unknown_arguments(engine: Engine, connect: Callable[..., object], *others: str) -> None:
    """Refuse arguments in the URL of *engine* that its driver does not know, before the first connection fails with them.

    Args:
        engine: The engine.
        connect: The driver's function, whose parameters are what the driver knows.
        others: What the driver, or SQLAlchemy, knows besides.

    Raises:
        ValueError: There is one; the message names it, and those that are spelled alike.
    """
    _, options = engine.dialect.create_connect_args(engine.url)
    known = {*inspect.signature(connect).parameters, *others}
    for name in sorted(options.keys() & engine.url.query.keys() - known):
        alike = get_close_matches(name, known, cutoff=0.5)
        instead = f"; it has {' and '.join(alike)}" if alike else ""
        raise ValueError(f"the driver of {engine.url.drivername}:// has no argument {name!r} for the URL{instead}")


def replace_lost_connections(engine: Engine) -> None:
    """Have *engine*'s pool ask a connection that has rested for an answer, before it lends it.

    The server may have been restarted meanwhile. One that was in use a moment ago is trusted, as asking costs a round
    trip; where it is lost all the same, the request that finds out gets a 503, and the pool begins anew.
    """
    event.listen(engine, "checkin", _remember_rest)
    event.listen(engine, "checkout", partial(_replace_lost, engine))


def _remember_rest(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RESTS] = time.monotonic()


def _replace_lost(
    engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
) -> None:
    since = record.info.pop(_RESTS, None)
    if since is not None and time.monotonic() - since > _TRUSTED and not _answers(engine, connection):
        raise InvalidatePoolError  # the others are as old


def _answers(engine: Engine, connection: DBAPIConnection) -> bool:
    try:
        return engine.dialect.do_ping(connection)
    except (engine.dialect.loaded_dbapi.Error, OSError):
        return False
