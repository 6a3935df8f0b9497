"""The stage: a database with the tables, and the contenders that work on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.handwritten import Handwritten
from benchmarks.layered import Alone, Entities, Projections
from benchmarks.shop import STORED, Item, PlainItem, clean_up, prepare, restock
from layered_backend import Database

__all__ = ["MILLION", "Stage", "opened_at", "stage_at"]

MILLION = 1_000_000


@dataclass
class Stage:
    """One database, with the same rows in both tables.

    Attributes:
        database: The library's way to it, with its defaults.
        deferred: The same with BEGIN deferred until a statement needs it.
        engine: SQLAlchemy's own, for the hand-written code and for the peers.
    """

    database: Database
    deferred: Database
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession] = field(init=False)
    by_hand: Handwritten = field(init=False)
    entities: Entities = field(init=False)
    deferred_entities: Entities = field(init=False)
    projections: Projections = field(init=False)
    deferred_projections: Projections = field(init=False)
    alone: Alone = field(init=False)
    _is_grown: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self.by_hand = Handwritten(self.sessions)
        self.entities = Entities(self.database)
        self.deferred_entities = Entities(self.deferred)
        self.projections = Projections(self.database)
        self.deferred_projections = Projections(self.deferred)
        self.alone = Alone(self.database)

    @property
    def dialect(self) -> str:
        """The name of SQLAlchemy's dialect."""
        return self.engine.dialect.name

    async def version(self) -> str:
        """Return the version of the database."""
        async with self.engine.connect() as connection:
            asked = "SELECT sqlite_version()" if self.dialect == "sqlite" else "SHOW server_version"
            return str(await connection.scalar(text(asked))).partition(" ")[0]

    async def restock(self) -> None:
        """Put back the rows that were there at first."""
        await restock(self.engine)
        self._is_grown = False

    async def delete_new(self) -> None:
        """Delete the rows that were not there at first."""
        async with self.engine.begin() as connection:
            for mapped in (Item, PlainItem):
                await connection.execute(text(f"DELETE FROM {mapped.__tablename__} WHERE id > {STORED}"))

    async def grow(self) -> None:
        """Have a million rows in both tables, with keys from 1 on and no gap."""
        if self._is_grown:
            return
        await self.restock()
        for mapped in (Item, PlainItem):
            await self._multiply(mapped.__tablename__)
        async with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text("VACUUM ANALYZE" if self.dialect == "postgresql" else "ANALYZE"))
        self._is_grown = True

    async def _multiply(self, table: str) -> None:
        """Repeat the rows, with other names, until there are a million."""
        last = MILLION // STORED - 1
        times = f"WITH RECURSIVE times (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < {last})"
        others = "price, quantity, note, created_at, updated_at"
        rows = f"SELECT name || ' x ' || n, {others} FROM times CROSS JOIN {table} ORDER BY n, id"
        async with self.engine.begin() as connection:
            if self.dialect == "sqlite":
                await connection.execute(text(f"INSERT INTO {table} (name, {others}) {times} {rows}"))
            else:
                await connection.execute(text(f"{times} INSERT INTO {table} (name, {others}) {rows}"))


@asynccontextmanager
async def stage_at(url: str) -> AsyncGenerator[Stage]:
    """Set the stage in the database at *url*, whose tables are the benchmark's own, and clear it at the end."""
    async with opened_at(url) as stage:
        await prepare(stage.engine)
        try:
            yield stage
        finally:
            await clean_up(stage.engine)


@asynccontextmanager
async def opened_at(url: str) -> AsyncGenerator[Stage]:
    """Open the database at *url*, where the stage is set already."""
    async with Database(url) as database, Database(url, deferred_begin=True) as deferred:
        engine = create_async_engine(database.url)
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _write_as_safely)
        try:
            yield Stage(database, deferred, engine)
        finally:
            await engine.dispose()


def _write_as_safely(connection: Any, record: object) -> None:
    """Have a commit wait for the disk as rarely as the library's do: what is measured is not the disk."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()
