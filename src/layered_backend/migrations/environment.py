"""The function that env.py calls: it tells Alembic how to migrate a `Database`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from alembic import context
from alembic.ddl.impl import DefaultImpl
from sqlalchemy import Connection, Dialect, MetaData

from layered_backend.database import Database
from layered_backend.dialects import Locks
from layered_backend.errors import LockTimeoutError, MigrationSetupError
from layered_backend.migrations.comparison import comparison_options
from layered_backend.migrations.connection import on_connection
from layered_backend.migrations.request import Request

__all__ = ["run_migrations"]

_LOCK = "migrations"


def run_migrations(database: Database, metadata: MetaData, **options: object) -> None:
    """Do in env.py what the command that runs it asks for: Alembic's own, or one of this library's.

        from layered_backend.migrations import run_migrations
        from shop.models import Base, database

        run_migrations(database, Base.metadata)

    One process migrates at a time; another one waits, and finds nothing to do. On PostgreSQL and SQLite a command changes
    all or nothing.

    Args:
        database: What to migrate, unless the command names another.
        metadata: What the tables are to be; every module of models must be imported.
        options: Arguments of Alembic's `EnvironmentContext.configure`, over those that are set here.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        LockTimeoutError: Another process was migrating all the time.
        MigrationError: On SQLite, a row would be left that refers to nothing; nothing is changed.
        MigrationSetupError: The database is in memory, an option does not fit it, or Alembic does not know its dialect.
    """
    request = Request.attached(context.config.attributes)
    request.has_begun, request.has_models = True, bool(metadata.tables)
    if not request.connects:
        return None
    chosen = request.database or database
    settings = {"target_metadata": metadata, **comparison_options(chosen, metadata, options)}
    if context.is_offline_mode():
        return _write(chosen, settings)
    work = partial(_read, chosen) if request.only_reads else partial(_migrate, chosen, request.lock_timeout)
    return on_connection(chosen, partial(work, settings), wait=request.wait)


def _write(database: Database, options: Mapping[str, Any]) -> None:
    """Write the statements out, without a connection."""
    _require_implementation(database.sync_url.get_dialect())
    context.configure(url=database.sync_url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **options)
    with context.begin_transaction():
        context.run_migrations()


def _require_implementation(dialect: Dialect | type[Dialect]) -> None:
    """Refuse a dialect that Alembic does not know, such as a registered one.

    Raises:
        MigrationSetupError: There is no subclass of `DefaultImpl` for it.
    """
    try:
        DefaultImpl.get_by_dialect(cast("Dialect", dialect))  # of which it reads the name
    except KeyError:
        raise MigrationSetupError(
            f"Alembic has no implementation for the dialect {dialect.name}; write one in env.py, before run_migrations(): "
            f"class {dialect.name.title()}Impl(alembic.ddl.impl.DefaultImpl): __dialect__ = {dialect.name!r}"
        ) from None


def _read(database: Database, options: Mapping[str, Any], connection: Connection) -> None:
    _require_implementation(connection.dialect)
    reading = database.dialect.transactions.options(read_only=True, deferred=True, isolation_level=None)
    context.configure(connection=connection.execution_options(**reading), dont_mutate=True, **options)
    with context.begin_transaction():
        context.run_migrations()


def _migrate(database: Database, timeout: float, options: Mapping[str, Any], connection: Connection) -> None:
    """Run what the command asks for, under the lock."""
    _require_implementation(connection.dialect)
    is_locked = not database.pgbouncer and database.dialect.locks.lock_session(connection, _LOCK, timeout)
    if options.get("transaction_per_migration") and not is_locked:
        raise MigrationSetupError(
            "transaction_per_migration needs a lock that outlives a transaction, which there is "
            + ("not behind PgBouncer" if database.pgbouncer else f"not on {connection.dialect.name}")
            + "; leave the option out"
        )
    database.dialect.migrations.prepare(connection)
    context.configure(connection=connection, dont_mutate=False, **options)
    if not is_locked:
        _begin_locked(connection, database.dialect.locks, timeout)
    with context.begin_transaction(), database.dialect.migrations.checked(connection):
        context.run_migrations()


def _begin_locked(connection: Connection, locks: Locks, timeout: float) -> None:
    """Begin a transaction that has the lock; SQLite's own patience is shorter than ours."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.begin()
            return locks.lock(connection, _LOCK, timeout)
        except LockTimeoutError:
            connection.rollback()  # where it was the lock that was refused, and not the beginning
            if time.monotonic() >= deadline:
                raise
