"""Connections, transactions and migrations of a database of which only the drivers are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Table

from layered_backend.dialects.portable.read_only import READ_ONLY
from layered_backend.dialects.protocols import Closeable, Connections, Migrations, Transactions
from layered_backend.errors import LayeredError

__all__ = ["PortableConnections", "PortableMigrations", "PortableTransactions"]


class PortableConnections(Connections):
    """Connections as SQLAlchemy and the driver set them up. A dialect names the drivers."""

    async_driver: str
    sync_driver: str
    requirement: str
    async_only: frozenset[str] = frozenset()
    has_statement_timeout: bool = False

    def effective_url(self, url: URL) -> URL:
        return url

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        return {}

    def autocommit_options(self) -> Mapping[str, Any]:
        return {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        raise ValueError(f"pgbouncer=True is for postgresql://, not for {url.get_backend_name()}://")

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        raise ValueError(
            f"{url.get_backend_name()}:// has no connect_timeout here; write the driver's own argument into connect_args"
        )

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        """Do nothing: see `has_statement_timeout`."""

    def is_in_memory(self, url: URL) -> bool:
        return False

    def keep_alive(self, url: URL) -> Closeable | None:
        return None

    def configure(self, engine: Engine) -> None:
        """Do nothing: the driver's own ways are right."""

    def abandon(self, engine: Engine) -> None:
        engine.dispose(close=False)


class PortableTransactions(Transactions):
    """Transactions that the driver begins by itself, with savepoints as the SQL standard has them."""

    has_one_writer: bool = False
    undoing_all: tuple[type[LayeredError], ...] = ()
    answers_every_commit: bool = False
    streams_alone: bool = False

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        """Return the isolation level, and what refuses writes before they are sent.

        Not every database has transactions that are read-only. A query whose function writes is not noticed here.
        """
        level = {"isolation_level": isolation_level} if isolation_level else {}
        return {**level, READ_ONLY: True} if read_only else level

    def commits_each_statement(self, connection: Connection) -> bool:
        """Tell whether SQLAlchemy's isolation level is AUTOCOMMIT, or the driver says that it is in autocommit."""
        if str(connection.get_execution_options().get("isolation_level")).upper() == "AUTOCOMMIT":
            return True
        adapted = connection.connection.dbapi_connection
        try:
            is_autocommit = adapted is not None and connection.dialect.detect_autocommit_setting(adapted)
        except NotImplementedError:  # by a dialect of SQLAlchemy's that cannot tell
            return False
        # A dialect may leave SQLite's driver in autocommit and have sent BEGIN itself.
        return is_autocommit and not getattr(connection.connection.driver_connection, "in_transaction", False)

    def awaits_end(self, connection: Connection) -> bool:
        return True

    def has_refused_to_begin(self, connection: Connection) -> bool:
        return False

    def has_ended(self, connection: Connection) -> bool:
        return False

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:
        """Do nothing: COMMIT checks them."""

    def check_at_commit(self, connection: Any) -> None:
        """Do nothing: a transaction inside another one then finds no violation of a deferred constraint."""


class PortableMigrations(Migrations):
    """Migrations that need nothing around their statements."""

    alters_by_copy: bool = False
    transactional_ddl: bool | None = None

    def prepare(self, connection: Connection) -> None:
        """Do nothing."""

    def prepare_dialect(self, dialect: Dialect) -> None:
        """Do nothing."""

    def stored_default(self, connection: Connection | None, schema: str | None, table: str, column: str) -> str | None:
        return None

    def same_expressions(
        self, connection: Connection | None, expressions: tuple[str, str], column_type: str, table: str | None
    ) -> bool | None:
        return None

    def descendants(self, connection: Connection) -> Collection[tuple[str | None, str]]:
        return ()

    def checked(self, connection: Connection) -> AbstractContextManager[None]:
        return nullcontext()
