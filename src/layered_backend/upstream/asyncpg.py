"""asyncpg's errors of its own, and what SQLAlchemy's adapter of asyncpg does not document."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Package, Undocumented

__all__ = ["is_broken_off", "outside_transaction", "verify"]

_ASYNCPG = Package("asyncpg", "0.31 to 0.32")
_BROKEN_OFF = "InternalClientError"


def verify() -> None:
    """Check what the clean end of connections, and of lost ones, rests on.

    Raises:
        UnsupportedVersionError: The installed release of SQLAlchemy adapts asyncpg in another way, or asyncpg has changed.
    """
    _ASYNCPG.require(Undocumented(import_module("asyncpg"), _BROKEN_OFF))
    adapter: object = import_module("sqlalchemy.dialects.postgresql.asyncpg")
    SQLALCHEMY.require(
        Undocumented(adapter, "AsyncAdapt_asyncpg_dbapi"),
        Undocumented(getattr(adapter, "AsyncAdapt_asyncpg_connection", None), "autocommit"),
    )


@contextmanager
def outside_transaction(connection: Any) -> Generator[None]:
    """Have statements in the block be sent without a BEGIN before them, on a new connection of the driver's.

    Uses `autocommit`, which is psycopg's own, and which SQLAlchemy's adapter of asyncpg has as well; PEP 249 has nothing of
    the kind. Without it, each new connection costs a BEGIN and a COMMIT more.
    """
    before = connection.autocommit
    connection.autocommit = True
    try:
        yield
    finally:
        connection.autocommit = before


def is_broken_off(error: BaseException) -> bool:
    """Tell whether asyncpg found out in the middle of an answer that its connection was lost.

    Uses the class `InternalClientError`, which is not documented to mean that; without it, the first request after a lost
    connection is a 500 and no 503.
    """
    return type(error).__name__ == _BROKEN_OFF
