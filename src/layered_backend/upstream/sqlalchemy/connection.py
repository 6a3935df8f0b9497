"""The connection of a transaction, and what SQLAlchemy does with it."""

from __future__ import annotations

import traceback
from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, pool
from sqlalchemy.engine import ExecutionContext

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = [
    "ObservedConnection",
    "is_from_pool",
    "is_internal_probe",
    "observe",
    "replace_cursor",
    "verify_connection",
]

_POOL = "sqlalchemy.pool.base"


def verify_connection() -> None:
    """Check that the functions of this module can work.

    Raises:
        UnsupportedVersionError: SQLAlchemy has changed.
    """
    SQLALCHEMY.require(
        Undocumented(Connection, "_commit_impl"),
        Undocumented(Connection, "_savepoint_impl", ("name",)),
        Undocumented(Connection, "_rollback_to_savepoint_impl", ("name",)),
        Undocumented(Connection, "_release_savepoint_impl", ("name",)),
        Undocumented(pool, _POOL.rpartition(".")[2]),
    )


class ObservedConnection(Connection):
    """A connection that reports what becomes of its transaction and its savepoints, when that has happened.

    It overrides the methods in which SQLAlchemy sends COMMIT, SAVEPOINT, ROLLBACK TO SAVEPOINT and RELEASE. The public
    events `commit`, `savepoint`, `rollback_savepoint` and `release_savepoint` come before the statement and do not tell
    whether it succeeded. Without them `UnitOfWork.outcome` could not be trusted.
    """

    sends_savepoint: bool = False
    """Whether it is sending one of the three statements of a savepoint."""

    @abstractmethod
    def commit_is_sent(self) -> None:
        """COMMIT is about to be sent."""

    @abstractmethod
    def commit_has_succeeded(self) -> None:
        """The database has answered COMMIT; no listener has been told yet."""

    @abstractmethod
    def savepoint_is_opened(self, name: str) -> None:
        """SAVEPOINT has succeeded."""

    @abstractmethod
    def savepoint_is_undone(self, name: str) -> None:
        """ROLLBACK TO SAVEPOINT is about to be sent: if it fails, the savepoint is gone as well."""

    @abstractmethod
    def savepoint_rollback_has_succeeded(self) -> None:
        """ROLLBACK TO SAVEPOINT has succeeded."""

    @abstractmethod
    def savepoint_is_released(self, name: str) -> None:
        """RELEASE SAVEPOINT has succeeded."""

    def _commit_impl(self) -> None:
        self.commit_is_sent()
        super()._commit_impl()
        self.commit_has_succeeded()

    def _savepoint_impl(self, name: str | None = None) -> str:
        with self._sending_savepoint():
            opened = super()._savepoint_impl(name)
        self.savepoint_is_opened(opened)
        return opened

    def _rollback_to_savepoint_impl(self, name: str) -> None:
        self.savepoint_is_undone(name)
        with self._sending_savepoint():
            super()._rollback_to_savepoint_impl(name)
        self.savepoint_rollback_has_succeeded()

    def _release_savepoint_impl(self, name: str) -> None:
        with self._sending_savepoint():
            super()._release_savepoint_impl(name)
        self.savepoint_is_released(name)

    @contextmanager
    def _sending_savepoint(self) -> Generator[None]:
        self.sends_savepoint = True
        try:
            yield
        finally:
            self.sends_savepoint = False


def observe(connection: Connection, kind: type[ObservedConnection]) -> None:
    """Make *connection* one of *kind*.

    It assigns to `__class__`, as SQLAlchemy lets nobody choose the class of an engine's connections. Without it a
    caller could commit or use the connection of a unit of work behind its back.
    """
    connection.__class__ = kind


def replace_cursor(context: ExecutionContext, cursor: Any) -> None:
    """Have the result of an execution read from *cursor*.

    It assigns to `ExecutionContext.cursor`, which is documented as readable only. Without it a streamed result could
    be fetched while another task uses the connection, or after the end of its transaction.
    """
    context.cursor = cursor


def is_from_pool(error: BaseException) -> bool:
    """Tell whether *error* arose while the pool opened a connection.

    It looks for the module `sqlalchemy.pool.base` in the traceback, as some drivers' errors leave the pool untranslated
    and nothing marks them. Without it a server that cannot be reached would be an OSError, and a 500 in place of a 503.
    """
    return any(frame.f_globals.get("__name__") == _POOL for frame, _ in traceback.walk_tb(error.__traceback__))


def is_internal_probe(context: ExecutionContext | None) -> bool:
    """Tell whether SQLAlchemy only asks whether something exists, as for a table in MariaDB.

    It reads the execution option `skip_user_error_events`, which nothing documents. Without it a table that does not
    exist yet would count as an error that has undone the unit of work.
    """
    return context is not None and bool(context.execution_options.get("skip_user_error_events"))
