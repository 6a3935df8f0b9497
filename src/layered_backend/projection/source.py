"""Sources of a projection: the connection of a session, or a connection for each read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from layered_backend.database import Database
from layered_backend.query.scope import ActiveScopes, active_scopes
from layered_backend.session import GuardedSyncSession, uninterrupted

__all__ = ["AutocommitSource", "SessionSource", "Source", "read_in", "write_in"]

T = TypeVar("T")


class Source(Protocol):
    """Gives a connection to read with."""

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect of the database."""
        ...

    @property
    def scopes(self) -> ActiveScopes:
        """The scopes that each statement gets."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which may send any number of statements, without giving way to the event loop's other callers."""
        ...

    def stream(self, statement: Select[Any], batch_size: int) -> AsyncGenerator[Sequence[Any]]:
        """Yield the rows of *statement* in batches, one of which is in memory at a time."""
        ...


class SessionSource:
    """The connection of a session, after its pending changes are written. Lives as long as the session.

    Args:
        session: The session whose connection is read with.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    @property
    def dialect(self) -> Dialect:
        return self._session.get_bind().dialect

    @property
    def scopes(self) -> ActiveScopes:
        return active_scopes(self._session.info)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._session.run_sync(read_in, work)

    async def stream(self, statement: Select[Any], batch_size: int) -> AsyncGenerator[Sequence[Any]]:
        options = {"yield_per": batch_size}
        result: Any = await self._session.run_sync(lambda s: s.execute(statement, execution_options=options))
        batches = result.partitions()
        try:
            while batch := await self._session.run_sync(lambda _: next(batches, None)):
                yield batch
        finally:
            await self._session.run_sync(lambda _: result.close())


class AutocommitSource:
    """A connection for each read, on which each statement is a transaction of its own.

    Args:
        database: The database to read.
        scopes: The scopes that each statement gets.
    """

    def __init__(self, database: Database, scopes: ActiveScopes) -> None:
        self._database = database
        self.scopes = scopes

    @property
    def dialect(self) -> Dialect:
        return self._database.engine.sync_engine.dialect

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)

    async def stream(self, statement: Select[Any], batch_size: int) -> AsyncGenerator[Sequence[Any]]:
        """Yield the rows, in a transaction that only reads: PostgreSQL's cursors need one."""
        session = self._database.session(read_only=True)
        try:
            async with aclosing(SessionSource(session).stream(statement, batch_size)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            await uninterrupted(session.finish())


def read_in(session: Session, work: Callable[[Connection], T]) -> T:
    """Run *work*, which only reads, on a connection for *session*, after what is pending has been written."""
    return session.read(work) if isinstance(session, GuardedSyncSession) else write_in(session, work)


def write_in(session: Session, work: Callable[[Connection], T]) -> T:
    """Run *work* on the connection of *session*, after what is pending has been written."""
    if isinstance(session, GuardedSyncSession):
        return session.write(work)
    session.flush()
    return work(session.connection())
