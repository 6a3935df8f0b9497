"""Connections, transactions and migrations of a database of which only the drivers are known."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Table, event

from layered_backend.dialects.protocols import Closeable, Connections, Migrations, Transactions
from layered_backend.errors import LayeredError, ReadOnlyError

__all__ = ["PortableConnections", "PortableMigrations", "PortableTransactions", "is_read", "refuse_writes"]

_READ_ONLY = "layered_backend_refuses_writes"
# Comments may come first; MariaDB carries out those that begin with ! or M!. A dialect may send BEGIN itself.
_READS = re.compile(
    r"(?:[\s(]|--[^\n]*|/\*(?!M?!)(?>.*?\*/))*+"
    r"(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW|PRAGMA|BEGIN|START\s+TRANSACTION|SAVEPOINT|RELEASE|ROLLBACK)\b",
    re.IGNORECASE | re.DOTALL,
)
# A common table expression may stand before a write, or be one, and EXPLAIN ANALYZE carries out what it explains.
_MAY_WRITE_ALL_THE_SAME = frozenset({"WITH", "EXPLAIN"})
# Not the name of a column, which is qualified, quoted or a label; nor a value that is one word.
_WRITES = re.compile(r"(?<![.'\"`\[])(?<!\bAS )\b(INSERT|UPDATE|DELETE|MERGE|REPLACE\s+INTO)\b", re.IGNORECASE)
_LOCKS = re.compile(r"\bFOR\s+((NO\s+KEY\s+)?UPDATE|(KEY\s+)?SHARE)\b", re.IGNORECASE)


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


def is_read(statement: str) -> bool:
    """Tell by its text whether *statement* can be part of a read-only transaction.

    It begins as a query does, and has neither a write in it nor a lock on rows, which PostgreSQL refuses there too. A
    query whose function writes is not noticed.
    """
    begun = _READS.match(statement)
    if begun is None or _LOCKS.search(statement):
        return False
    may_write = begun[1].upper() in _MAY_WRITE_ALL_THE_SAME or ";" in statement
    return not (may_write and _WRITES.search(statement))


def refuse_writes(engine: Engine) -> None:
    """Have *engine* refuse what is no read, if its options are those of a read-only transaction of the portable kind."""
    if engine.get_execution_options().get(_READ_ONLY):
        event.listen(engine, "before_cursor_execute", _refuse_write)


def _refuse_write(connection: Connection, cursor: object, statement: str, *_: object) -> None:
    """Refuse what is no read."""
    if not is_read(statement):
        raise ReadOnlyError("nothing can be written: the unit of work has read_only=True")


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
        return {**level, _READ_ONLY: True} if read_only else level

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
