"""The database, and the sessions that lead to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from layered_backend.database.configuration import DatabaseConfiguration, refuse_autocommit
from layered_backend.database.engines import Engines
from layered_backend.dialects import DatabaseDialect
from layered_backend.models import Base
from layered_backend.session import GuardedSession, drive, read_in_autocommit

__all__ = ["Database"]

T = TypeVar("T")


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

    Attributes:
        engines: Where its connections come from.

    Raises:
        ValueError: The URL is none, or is of a database that is not supported, not behind PgBouncer, or without a time
            limit for statements; or a time limit is not above 0; or the connections would be in autocommit.
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
        configuration = DatabaseConfiguration.at(
            url,
            sync_url,
            pgbouncer=pgbouncer,
            connect_timeout=connect_timeout,
            statement_timeout=statement_timeout,
            deferred_begin=deferred_begin,
            engine_options=engine_options,
        )
        self.engines: Engines = Engines(configuration)

    @property
    def url(self) -> URL:
        """The URL for asynchronous use, with the driver."""
        return self.engines.configuration.url

    @property
    def sync_url(self) -> URL:
        """The URL for synchronous use, with the driver."""
        return self.engines.configuration.sync_url

    @property
    def dialect(self) -> DatabaseDialect:
        """The rules that hold for databases of this kind."""
        return self.engines.configuration.dialect

    @property
    def is_in_memory(self) -> bool:
        """Whether it is one connection, and gone with it."""
        return self.engines.configuration.is_in_memory

    @property
    def pgbouncer(self) -> bool:
        """Whether the URLs lead to PgBouncer in transaction pooling mode."""
        return self.engines.configuration.pgbouncer

    @property
    def deferred_begin(self) -> bool:
        """Whether reads may be sent before BEGIN."""
        return self.engines.configuration.deferred_begin

    def unpooled(self) -> Database:
        """Return the same database with connections that are closed as soon as they are given back.

        It is for a piece of work that is done once, such as a migration, and leaves nothing to be disposed of. Its
        statements may take as long as they do: `statement_timeout` is for those of requests.
        """
        return Database(**self.engines.configuration.unpooled_arguments())

    def __repr__(self) -> str:
        return f"Database({str(self.engines.configuration)!r})"

    @property
    def engine(self) -> AsyncEngine:
        """The asynchronous engine of the running event loop, made on first use.

        Each loop has its own, because a pooled connection belongs to the loop that opened it. One that is made while no
        loop runs is the first loop's.

        Raises:
            ModuleNotFoundError: The driver is unknown or not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in synchronous use, or the driver cannot be awaited.
        """
        return self.engines.asynchronous

    @property
    def sync_engine(self) -> Engine:
        """The synchronous engine, made on first use.

        Raises:
            ModuleNotFoundError: The driver is unknown or not installed; the message says what to install.
            UnitOfWorkError: The database is in memory and is in asynchronous use.
        """
        return self.engines.synchronous

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

        Raises:
            ValueError: The isolation level is AUTOCOMMIT, or one that the database does not have.
        """
        refuse_autocommit(isolation_level)
        engines = self.engines
        engine = plain = engines.asynchronous.sync_engine if asynchronous else engines.synchronous
        if read_only or deferred or isolation_level:
            engine = engines.variant(engine, read_only=read_only, deferred=deferred, isolation_level=isolation_level)
        unbegun_reads = None if isolation_level or read_only else engines.unbegun_reads(plain)
        return GuardedSession(engine, asynchronous=asynchronous, unbegun_reads=unbegun_reads)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work* on a connection on which each statement is a transaction of its own, and which only this one has.

        It saves a BEGIN and a ROLLBACK, and the connection is set up once: it is of a pool of its own. *work* reaches the
        database as in `AsyncConnection.run_sync`.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        return await read_in_autocommit(self.engines.autocommit, work)

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
        await self.engines.dispose()

    def dispose_sync(self) -> None:
        """Close the pooled connections of synchronous use."""
        self.engines.dispose_synchronous()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.dispose_sync()
