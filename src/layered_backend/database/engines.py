"""The engines that lead to one database, made when they are first used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidRequestError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from layered_backend.accelerators import defer_begin
from layered_backend.database.configuration import DatabaseConfiguration
from layered_backend.dialects import Closeable, refuse_writes
from layered_backend.dialects.connecting import replace_lost_connections
from layered_backend.dialects.registry import check_name
from layered_backend.errors import UnitOfWorkError
from layered_backend.session import UnbegunReads, guard_engine
from layered_backend.upstream.connecting import connections_ended
from layered_backend.upstream.sqlalchemy import expression
from layered_backend.upstream.sqlalchemy.concurrency import verify_concurrency
from layered_backend.upstream.sqlalchemy.connection import verify_connection
from layered_backend.upstream.sqlalchemy.restriction_compiler import restrict, verify_restriction

__all__ = ["Engines", "check_isolation_level"]


class Engines:
    """The engines of one database: one for each event loop, and one without. Lives as long as the database.

    Args:
        configuration: How they are made.

    Attributes:
        configuration: How they are made.
    """

    def __init__(self, configuration: DatabaseConfiguration) -> None:
        self.configuration = configuration
        self._connections = configuration.dialect.connections
        self._lock = threading.Lock()
        self._of_loops: dict[asyncio.AbstractEventLoop, AsyncEngine] = {}
        self._unclaimed: AsyncEngine | None = None
        self._in_autocommit: dict[AsyncEngine, AsyncEngine] = {}
        self._synchronous: Engine | None = None
        self._keep_alive: Closeable | None = None
        # Not weak: what is kept for an engine refers to it, so `_forget` drops both together.
        self._unbegun_reads: dict[Engine, UnbegunReads] = {}
        self._variants: dict[Engine, dict[tuple[Any, ...], Engine]] = {}

    @property
    def asynchronous(self) -> AsyncEngine:
        """The engine of the running event loop; one that is made while no loop runs is the first loop's.

        Raises:
            ModuleNotFoundError: The driver is unknown or not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in synchronous use, or the driver cannot be awaited.
        """
        loop = _running_loop()
        engine = self._of_loops.get(loop) if loop else self._unclaimed
        return engine or self._new_asynchronous(loop)

    def _new_asynchronous(self, loop: asyncio.AbstractEventLoop | None) -> AsyncEngine:
        with self._lock:
            self._abandon_closed_loops()
            engine = self._unclaimed or self._make_asynchronous()
            self._unclaimed = None if loop else engine
            if loop:
                self._of_loops[loop] = engine
        return engine

    def _abandon_closed_loops(self) -> None:
        """Let go of the connections of event loops that ended without `dispose()`, where nothing can await their close."""
        for loop in [loop for loop in self._of_loops if loop.is_closed()]:
            engine = self._of_loops.pop(loop)
            for abandoned in filter(None, (engine, self._in_autocommit.pop(engine, None))):
                self._connections.abandon(abandoned.sync_engine)
                self._forget(abandoned)

    def _forget(self, engine: AsyncEngine) -> None:
        """Drop what is kept for *engine*, which is used no more."""
        self._unbegun_reads.pop(engine.sync_engine, None)
        self._variants.pop(engine.sync_engine, None)

    @property
    def synchronous(self) -> Engine:
        """The engine for use without an event loop.

        Raises:
            ModuleNotFoundError: The driver is unknown or not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in asynchronous use.
        """
        if self._synchronous is None:
            with self._lock:
                self._synchronous = self._synchronous or self._make_synchronous()
        return self._synchronous

    @property
    def autocommit(self) -> Engine:
        """The engine of the running event loop on whose connections each statement is a transaction of its own."""
        engine = self.asynchronous
        if self.configuration.is_in_memory:  # which is one connection
            return self.variant(engine.sync_engine, read_only=False, deferred=False, isolation_level="AUTOCOMMIT")
        with self._lock:
            if engine not in self._in_autocommit:
                options: dict[str, Any] = {**self._connections.autocommit_options(), "pool_reset_on_return": None}
                theirs = dict(self.configuration.engine_options.get("execution_options") or {})
                theirs.pop("isolation_level", None)  # which would begin transactions
                options["execution_options"] = {**theirs, **options.get("execution_options", {})}
                self._in_autocommit[engine] = self._make_asynchronous(**options)
        return self._in_autocommit[engine].sync_engine

    def variant(self, engine: Engine, **transaction: Any) -> Engine:
        """Return *engine*, sharing its pool, with the options that begin a *transaction* of that kind."""
        variants = self._variants.setdefault(engine, {})
        key = tuple(transaction.values())
        if key not in variants:
            options = self.configuration.dialect.transactions.options(**transaction)
            check_isolation_level(engine, options.get("isolation_level"))
            variants[key] = engine.execution_options(**options)
            refuse_writes(variants[key])
        return variants[key]

    def unbegun_reads(self, engine: Engine) -> UnbegunReads | None:
        """Return how *engine* reads before BEGIN, or None where every read is in the transaction."""
        return self._unbegun_reads.get(engine)

    def _make_asynchronous(self, **options: object) -> AsyncEngine:
        self._refuse_second_kind(is_used=self._synchronous is not None)
        url = self.configuration.url
        with self._drivers_explained(url, asynchronous=True):
            engine = create_async_engine(url, **self.configuration.engine_arguments(url, asynchronous=True) | options)
        self._prepare(engine.sync_engine)
        return engine

    def _make_synchronous(self) -> Engine:
        self._refuse_second_kind(is_used=bool(self._of_loops) or self._unclaimed is not None)
        url = self.configuration.sync_url
        with self._drivers_explained(url, asynchronous=False):
            engine = create_engine(url, **self.configuration.engine_arguments(url, asynchronous=False))
        self._prepare(engine)
        return engine

    @contextmanager
    def _drivers_explained(self, url: URL, *, asynchronous: bool) -> Generator[None]:
        """Say what to install, or what to write in place of *url*, where its driver cannot be used."""
        name, driver = url.get_backend_name(), url.get_driver_name()
        ours = (self._connections.sync_driver, self._connections.async_driver)
        install = f"pip install '{self._connections.requirement}'"
        instead = f"write {name}://, which uses {ours[asynchronous]}: {install}"
        try:
            yield
        except ModuleNotFoundError as error:
            needs = f"{url.drivername}:// needs the module {error.name}, which is not installed"
            if driver in ours or error.name in ours:
                told = f"{needs}: {install}"
            elif asynchronous and not _can_be_awaited(url):
                told = f"{needs}, and cannot be awaited; {instead}"
            else:
                told = f"{needs}; install it, or {instead}"
            raise ModuleNotFoundError(told, name=error.name) from error
        except ImportError as error:  # the module is installed, and something that it needs is not, such as libpq
            told = f"{url.drivername}:// has a driver that cannot be loaded ({_first_line(error)})"
            raise ImportError(f"{told}; {instead}", name=error.name) from error
        except NoSuchModuleError as error:
            if driver not in ours:
                told = f"{url.drivername}:// names a driver that SQLAlchemy does not know; {instead}"
            elif _is_known(name):
                told = (
                    f"SQLAlchemy has a dialect {name}, but none called {name}.{driver}; name a driver that it has in the "
                    f"registered dialect, or call sqlalchemy.dialects.registry.register({f'{name}.{driver}'!r}, ...)"
                )
            else:
                told = f"SQLAlchemy has no dialect {name}.{driver}; install the package that has it: {install}"
            raise ModuleNotFoundError(told, name=driver) from error
        except InvalidRequestError as error:
            if not asynchronous or _can_be_awaited(url):
                raise
            told = f"{url.drivername}:// has a driver that cannot be awaited; use the database with `with`"
            raise UnitOfWorkError(told if driver == ours[True] else f"{told}, or {instead}") from error

    def _prepare(self, engine: Engine) -> None:
        """Have *engine* keep what this library promises of its connections."""
        configuration = self.configuration
        for verify in (expression.verify, verify_concurrency, verify_connection, verify_restriction):
            verify()
        check_name(engine)
        event.listen(engine, "connect", self._keep_database_alive)
        self._connections.configure(engine)
        if configuration.statement_timeout is not None:
            self._connections.limit_statements(engine, configuration.statement_timeout)
        if not configuration.dialect.transactions.answers_every_commit:
            replace_lost_connections(engine)
        restrict(engine)
        unbegun_reads = defer_begin(engine) if configuration.deferred_begin else None
        if unbegun_reads is not None:
            self._unbegun_reads[engine] = unbegun_reads
        guard_engine(engine)

    def _keep_database_alive(self, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        self._keep_alive = self._keep_alive or self._connections.keep_alive(self.configuration.url)

    def _refuse_second_kind(self, *, is_used: bool) -> None:
        if is_used and self.configuration.is_in_memory:
            raise UnitOfWorkError(
                "an in-memory database is one connection, which `with` and `async with` cannot share; "
                "use a file, such as sqlite:///shop.db"
            )

    async def dispose(self) -> None:
        """Close the pooled connections, those of other event loops excepted, and wait for the end of their threads."""
        engine = self._of_loops.get(asyncio.get_running_loop(), self._unclaimed)
        # Both stay: a task that is cancelled here can dispose of what is left, and they can be used again.
        beside = self._in_autocommit.get(engine) if engine else None
        for disposed in filter(None, (engine, beside)):
            pool = disposed.pool
            await disposed.dispose()
            _close_late_connections(pool)
            await connections_ended(disposed.sync_engine)
        self._abandon_closed_loops()
        self.dispose_synchronous()

    def dispose_synchronous(self) -> None:
        """Close the pooled connections of synchronous use."""
        if self._synchronous is not None:
            pool = self._synchronous.pool
            self._synchronous.dispose()
            _close_late_connections(pool)
        if self._keep_alive is not None:
            self._keep_alive.close()
            self._keep_alive = None


def _close_late_connections(pool: Pool) -> None:
    """Have the connections of units of work that are still open be closed when they come back to *pool*, which has no user."""
    event.listen(pool, "checkin", _close)


def _close(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.invalidate()


def _can_be_awaited(url: URL) -> bool:
    """Tell whether SQLAlchemy has the driver of *url* for `async with`."""
    return url.get_dialect().get_async_dialect_cls(url).is_async


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")


def _is_known(name: str) -> bool:
    """Tell whether SQLAlchemy has a dialect of that *name*, whatever its driver."""
    try:
        URL.create(name).get_dialect()
    except NoSuchModuleError:
        return False
    return True


def check_isolation_level(engine: Engine, level: str | None) -> None:
    """Refuse a *level* that the driver does not know, which it would refuse with a connection in its hands.

    Raises:
        ValueError: The driver does not know it; the message names those that it knows.
    """
    dialect: Any = engine.dialect  # which needs no connection to tell
    known = dialect.get_isolation_level_values(None) if level else ()
    if level and level.replace("_", " ") not in known:
        raise ValueError(f"{level!r} is no isolation level of this database; it has {', '.join(sorted(known))}")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
