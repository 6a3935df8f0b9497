"""The request of a command to env.py, which Alembic runs in between."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from layered_backend.database import Database

__all__ = ["LOCK_TIMEOUT", "WAIT", "Request"]

WAIT = 30.0  # seconds
LOCK_TIMEOUT = 10 * 60.0  # 10 minutes, in seconds
_KEY = "layered_backend"


@dataclass
class Request:
    """A request, and how far it is. Lives as long as the command.

    Attributes:
        database: What to migrate; what env.py names, unless it is given.
        wait: Seconds to wait for a database that is not up yet.
        lock_timeout: Seconds to wait for another process that is migrating the same database.
        only_reads: Whether nothing is to be written.
        connects: Whether the database is used at all.
        has_begun: Whether env.py has come to `run_migrations`.
        has_models: Whether it has given tables to it.
    """

    database: Database | None = None
    wait: float = WAIT
    lock_timeout: float = LOCK_TIMEOUT
    only_reads: bool = False
    connects: bool = True
    has_begun: bool = False
    has_models: bool = False

    def attach(self, attributes: MutableMapping[str, Any]) -> None:
        """Put the request where env.py will find it."""
        attributes[_KEY] = self

    @classmethod
    def attached(cls, attributes: MutableMapping[str, Any]) -> Request:
        """Return the request that was made; one without wishes where Alembic's own command line runs env.py."""
        request: Request = attributes.get(_KEY) or cls()
        return request
