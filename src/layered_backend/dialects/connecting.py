"""Replacing connections that were lost while they rested."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = ["replace_lost_connections"]

_RESTS = "layered_backend_rests_since"
_TRUSTED = 0.1  # seconds


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
