"""The database: where it is, and the engines and sessions that lead to it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, literal, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from layered_backend.accelerators import defer_begin
from layered_backend.dialects import Closeable, DatabaseDialect, dialect_named
from layered_backend.dialects.connecting import replace_lost_connections
from layered_backend.errors import UnitOfWorkError
from layered_backend.models import Base
from layered_backend.session import GuardedSession, UnbegunReads, drive, guard_engine, read_in_autocommit
from layered_backend.upstream.connecting import connections_ended
from layered_backend.upstream.sqlalchemy import expression
from layered_backend.upstream.sqlalchemy.concurrency import verify_concurrency
from layered_backend.upstream.sqlalchemy.connection import verify_connection
from layered_backend.upstream.sqlalchemy.restriction_compiler import restrict, verify_restriction

__all__ = ["Database"]

_PASSWORDS = ("password", "passwd")

T = TypeVar("T")

_OF_POOLS = frozenset({"max_overflow", "pool", "pool_size", "pool_timeout", "pool_use_lifo"})


class Database:
    """One database. Lives as long as the process; there is one for each URL.

    Nothing is opened before the first use. `async with database:` (or `with`) closes the connections at the end, as
    `install` does for a FastAPI application.

    Args:
        url: `sqlite:///shop.db`, `postgresql://user@host/shop`, `mariadb://...`, `mysql://...`. Without a driver in it,
            asyncpg, asyncmy or aiosqlite is used; one that is named is kept.
        sync_url: The URL for synchronous use; made from *url* with psycopg, PyMySQL or sqlite3 unless it is given.
        pgbouncer: Whether the URLs lead to PgBouncer in transaction pooling mode, where nothing that is kept on a
            connection lasts longer than a transaction: no statement is then prepared for later.
        connect_timeout: Seconds to wait for a new connection, above 0; what the driver waits unless it is given. SQLite
            opens a file and waits for nobody.
        statement_timeout: Seconds after which the database ends a statement with a StatementTimeoutError, above 0.
        deferred_begin: Whether reads may be sent before BEGIN, which is faster and less certain; see
            docs/accelerators.md. Through asyncpg only; another driver begins with the first statement all the same.
        engine_options: Arguments of SQLAlchemy's `create_engine`, such as `pool_size=10`, for all engines.

    Raises:
        ValueError: The URL is none, or is of a database that is not supported, not behind PgBouncer, or without a time
            limit for statements; or a time limit is not above 0.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        sync_url: str | URL | None = None,
        pgbouncer: bool = False,
        connect_timeout: float | None = None,
        statement_timeout: float | None = None,
        deferred_begin: bool = False,
        **engine_options: Any,
    ) -> None:
        if str(engine_options.get("isolation_level")).upper() == "AUTOCOMMIT":
            raise ValueError("units of work are transactions; the isolation level of a database cannot be AUTOCOMMIT")
        given = _parsed(url)
        self.dialect: DatabaseDialect = dialect_named(given.get_backend_name())
        resolved = self.dialect.connections.effective_url(given)
        self.url: URL = _with_driver(resolved, self.dialect.connections.async_driver)
        self.sync_url: URL = self._synchronous(_parsed(sync_url) if sync_url else resolved)
        self.pgbouncer = pgbouncer
        self.is_in_memory: bool = self.dialect.connections.is_in_memory(self.url)
        self._connect_arguments = {
            each: self._connect_arguments_of(each, pgbouncer, connect_timeout) for each in (self.url, self.sync_url)
        }
        self._refuse_limit(statement_timeout, pgbouncer=pgbouncer)
        self._connect_timeout, self._statement_timeout = connect_timeout, statement_timeout
        self.deferred_begin = deferred_begin
        self._engine_options = engine_options
        self._lock = threading.Lock()
        self._async_engines: dict[asyncio.AbstractEventLoop, AsyncEngine] = {}
        self._unclaimed_engine: AsyncEngine | None = None
        self._autocommit_engines: dict[AsyncEngine, AsyncEngine] = {}
        self._sync_engine: Engine | None = None
        self._keep_alive: Closeable | None = None
        self._unbegun_reads: WeakKeyDictionary[Engine, UnbegunReads] = WeakKeyDictionary()
        self._variants: WeakKeyDictionary[Engine, dict[tuple[Any, ...], Engine]] = WeakKeyDictionary()

    def unpooled(self) -> Database:
        """Return the same database with connections that are closed as soon as they are given back.

        It is for a piece of work that is done once, such as a migration, and leaves nothing to be disposed of. Its
        statements may take as long as they do: `statement_timeout` is for those of requests.
        """
        kept = {name: value for name, value in self._engine_options.items() if name not in _OF_POOLS}
        options: dict[str, Any] = {**kept, "poolclass": NullPool, "connect_timeout": self._connect_timeout}
        options["deferred_begin"] = self.deferred_begin
        return Database(self.url, sync_url=self.sync_url, pgbouncer=self.pgbouncer, **options)

    def __repr__(self) -> str:
        shown = self.url if self.is_in_memory else self.url.set(query={})  # which may have the password of a key in it
        return f"Database({shown.render_as_string(hide_password=True)!r})"

    def _connect_arguments_of(self, url: URL, pgbouncer: bool, connect_timeout: float | None) -> Mapping[str, Any]:
        arguments: dict[str, Any] = {}
        if connect_timeout is not None:
            _refuse_no_time("connect_timeout", connect_timeout)
            arguments |= self.dialect.connections.connect_timeout_arguments(url, connect_timeout)
        if pgbouncer:
            arguments |= self.dialect.connections.pgbouncer_arguments(url)
        return arguments

    def _refuse_limit(self, statement_timeout: float | None, *, pgbouncer: bool) -> None:
        if statement_timeout is None:
            return
        _refuse_no_time("statement_timeout", statement_timeout)
        if not self.dialect.connections.has_statement_timeout:
            raise ValueError(f"{self.url.get_backend_name()}:// has no statement_timeout; leave it out")
        if pgbouncer:
            raise ValueError(
                "statement_timeout= is a setting of the session, which is lost behind PgBouncer; "
                "write ALTER ROLE ... SET statement_timeout = ... on the server"
            )

    def _synchronous(self, url: URL) -> URL:
        if url.drivername.partition("+")[2] in self.dialect.connections.async_only:
            url = url.set(drivername=url.get_backend_name())
        return _with_driver(url, self.dialect.connections.sync_driver)

    @property
    def engine(self) -> AsyncEngine:
        """The asynchronous engine of the running event loop, made on first use.

        Each loop has its own, because a pooled connection belongs to the loop that opened it. One that is made while no
        loop runs is the first loop's.

        Raises:
            ModuleNotFoundError: The driver is not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in synchronous use.
        """
        loop = _running_loop()
        engine = self._async_engines.get(loop) if loop else self._unclaimed_engine
        return engine or self._new_async_engine(loop)

    def _new_async_engine(self, loop: asyncio.AbstractEventLoop | None) -> AsyncEngine:
        with self._lock:
            self._abandon_closed_loops()
            engine = self._unclaimed_engine or self._make_async_engine()
            self._unclaimed_engine = None if loop else engine
            if loop:
                self._async_engines[loop] = engine
        return engine

    def _abandon_closed_loops(self) -> None:
        """Let go of the connections of event loops that ended without `dispose()`, where nothing can await their close."""
        for loop in [loop for loop in self._async_engines if loop.is_closed()]:
            engine = self._async_engines.pop(loop)
            beside = self._autocommit_engines.pop(engine, None)
            for abandoned in filter(None, (engine, beside)):
                self.dialect.connections.abandon(abandoned.sync_engine)

    @property
    def sync_engine(self) -> Engine:
        """The synchronous engine, made on first use.

        Raises:
            ModuleNotFoundError: The driver is not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in asynchronous use.
        """
        if self._sync_engine is None:
            with self._lock:
                self._sync_engine = self._sync_engine or self._make_sync_engine()
        return self._sync_engine

    def _make_async_engine(self, **options: object) -> AsyncEngine:
        self._refuse_second_kind(is_used=self._sync_engine is not None)
        with self._missing_driver_named(self.url):
            engine = create_async_engine(self.url, **self._options(self.url, asynchronous=True) | options)
        self._prepare(engine.sync_engine)
        return engine

    def _make_sync_engine(self) -> Engine:
        self._refuse_second_kind(is_used=bool(self._async_engines) or self._unclaimed_engine is not None)
        with self._missing_driver_named(self.sync_url):
            engine = create_engine(self.sync_url, **self._options(self.sync_url, asynchronous=False))
        self._prepare(engine)
        return engine

    def _options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        """Return the arguments of `create_engine`: the caller's, over the dialect's, over ours."""
        ours = {"hide_parameters": True}  # the values of rows stay out of messages, and so out of logs
        dialects = self.dialect.connections.engine_options(url, asynchronous=asynchronous)
        if "poolclass" in self._engine_options:  # whose arguments are the caller's too
            dialects = {
                name: value for name, value in dialects.items() if not name.startswith(("pool", "max_overflow"))
            }
        connect_args = {
            **dialects.get("connect_args", {}),
            **self._connect_arguments[url],
            **self._engine_options.get("connect_args", {}),
        }
        return ours | dialects | self._engine_options | {"connect_args": connect_args}

    @contextmanager
    def _missing_driver_named(self, url: URL) -> Generator[None]:
        try:
            yield
        except ModuleNotFoundError as error:
            install = f"pip install '{self.dialect.connections.requirement}'"
            raise ModuleNotFoundError(f"{url.drivername}:// needs a driver: {install}", name=error.name) from error

    def _prepare(self, engine: Engine) -> None:
        for verify in (expression.verify, verify_concurrency, verify_connection, verify_restriction):
            verify()
        event.listen(engine, "connect", self._keep_database_alive)
        self.dialect.connections.configure(engine)
        if self._statement_timeout is not None:
            self.dialect.connections.limit_statements(engine, self._statement_timeout)
        if not self.dialect.transactions.answers_every_commit:
            replace_lost_connections(engine)
        restrict(engine)
        unbegun_reads = defer_begin(engine) if self.deferred_begin else None
        if unbegun_reads is not None:
            self._unbegun_reads[engine] = unbegun_reads
        guard_engine(engine)

    def _keep_database_alive(self, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        self._keep_alive = self._keep_alive or self.dialect.connections.keep_alive(self.url)

    def _refuse_second_kind(self, *, is_used: bool) -> None:
        if is_used and self.is_in_memory:
            raise UnitOfWorkError(
                "an in-memory database is one connection, which `with` and `async with` cannot share; "
                "use a file, such as sqlite:///shop.db"
            )

    def session(
        self,
        *,
        asynchronous: bool = True,
        read_only: bool = False,
        deferred: bool = False,
        isolation_level: str | None = None,
    ) -> GuardedSession:
        """Return a new session, which takes no connection before its first statement.

        Args:
            asynchronous: Whether it is awaited on an event loop, or driven without one.
            read_only: Refuse writes.
            deferred: On SQLite, take the write lock at the first write instead of at the first statement.
            isolation_level: As SQLAlchemy's `isolation_level`; None keeps the engine's.
        """
        engine = plain = self.engine.sync_engine if asynchronous else self.sync_engine
        if read_only or deferred or isolation_level:
            engine = self._variant(engine, read_only=read_only, deferred=deferred, isolation_level=isolation_level)
        unbegun_reads = None if isolation_level or read_only else self._unbegun_reads.get(plain)
        return GuardedSession(engine, asynchronous=asynchronous, unbegun_reads=unbegun_reads)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work* on a connection on which each statement is a transaction of its own, and which only this one has.

        It saves a BEGIN and a ROLLBACK, and the connection is set up once: it is of a pool of its own. *work* reaches the
        database as in `AsyncConnection.run_sync`.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        return await read_in_autocommit(self._autocommit_engine(), work)

    def _autocommit_engine(self) -> Engine:
        engine = self.engine
        if self.is_in_memory:  # which is one connection
            return self._variant(engine.sync_engine, read_only=False, deferred=False, isolation_level="AUTOCOMMIT")
        with self._lock:
            if engine not in self._autocommit_engines:
                options = {**self.dialect.connections.autocommit_options(), "pool_reset_on_return": None}
                self._autocommit_engines[engine] = self._make_async_engine(**options)
        return self._autocommit_engines[engine].sync_engine

    def _variant(self, engine: Engine, **transaction: Any) -> Engine:
        """Return *engine*, sharing its pool, with the options that begin a *transaction* of that kind."""
        variants = self._variants.setdefault(engine, {})
        key = tuple(transaction.values())
        if key not in variants:
            variants[key] = engine.execution_options(**self.dialect.transactions.options(**transaction))
        return variants[key]

    async def create_all(self, metadata: MetaData = Base.metadata) -> None:
        """Create the tables that do not exist yet; safe when several processes do so at once.

        Args:
            metadata: Whose tables to create; those of `Base` unless it is given.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        await self._create_all(self.session(), metadata)

    def create_all_sync(self, metadata: MetaData = Base.metadata) -> None:
        """Do what `create_all` does, without an event loop."""
        drive(self._create_all(self.session(asynchronous=False), metadata))

    async def _create_all(self, session: GuardedSession, metadata: MetaData) -> None:
        def create(session: Session) -> None:
            connection = session.connection()
            self.dialect.locks.lock(connection, "create_all")
            metadata.create_all(connection)

        async with session.transaction():
            await session.run_sync(create)

    async def ping(self) -> None:
        """Ask the database for an answer.

        Raises:
            DatabaseUnavailableError: It gives none.
        """
        await self._ping(self.session(read_only=True))

    def ping_sync(self) -> None:
        """Do what `ping` does, without an event loop."""
        drive(self._ping(self.session(asynchronous=False, read_only=True)))

    async def _ping(self, session: GuardedSession) -> None:
        async with session.transaction():
            await session.execute(select(literal(1)))

    async def dispose(self) -> None:
        """Close the pooled connections, those of other event loops excepted, and wait for the end of their threads.

        A connection that is still being opened for a task that was cancelled is waited for too. The database can be used
        again afterwards; one in memory is empty then.
        """
        engine = self._async_engines.get(asyncio.get_running_loop(), self._unclaimed_engine)
        beside = self._autocommit_engines.pop(engine, None) if engine else None
        for disposed in filter(None, (engine, beside)):
            await disposed.dispose()
            await connections_ended(disposed.sync_engine)
        self._abandon_closed_loops()
        self.dispose_sync()

    def dispose_sync(self) -> None:
        """Close the pooled connections of synchronous use."""
        if self._sync_engine is not None:
            self._sync_engine.dispose()
        if self._keep_alive is not None:
            self._keep_alive.close()
            self._keep_alive = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.dispose_sync()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _parsed(url: str | URL) -> URL:
    try:
        return _with_password_in_its_place(make_url(url))
    except (ArgumentError, ValueError):  # whose messages hold the URL or its port, and so maybe a password
        raise ValueError("this is not the URL of a database; one looks like sqlite:///shop.db") from None


def _with_password_in_its_place(url: URL) -> URL:
    """Return *url* with a password that is in its query, as drivers have it too, where SQLAlchemy shows it to nobody."""
    found = next((url.query[name] for name in _PASSWORDS if name in url.query), None)
    return url.difference_update_query(_PASSWORDS).set(password=found) if isinstance(found, str) else url


def _refuse_no_time(name: str, seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}= is a number of seconds above 0")


def _with_driver(url: URL, driver: str) -> URL:
    """Return *url* with *driver*, unless it names one."""
    return url if "+" in url.drivername else url.set(drivername=f"{url.drivername}+{driver}")
