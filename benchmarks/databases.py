"""The databases to measure on: a file of SQLite's, and a database of the benchmark's own on a PostgreSQL server."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

__all__ = ["DATABASES", "ServerMissingError"]

_POSTGRESQL = os.environ.get("LAYERED_BENCH_POSTGRESQL", "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres")


class ServerMissingError(Exception):
    """No server listens at the URL."""


class _Temporary(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[str]: ...


@asynccontextmanager
async def _file() -> AsyncGenerator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite+aiosqlite:///{Path(folder) / 'benchmark.db'}"


@asynccontextmanager
async def _own_database() -> AsyncGenerator[str]:
    server = make_url(_POSTGRESQL)
    name = f"layered_bench_{secrets.token_hex(4)}"
    try:
        await _run(server, f"CREATE DATABASE {name}")
    except OSError as error:
        raise ServerMissingError(
            f"no PostgreSQL server answers at {server.host}:{server.port}; LAYERED_BENCH_POSTGRESQL is the URL of one"
        ) from error
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        await _run(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _run(server: URL, sql: str) -> None:
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(sql))
    finally:
        await engine.dispose()


DATABASES: Mapping[str, _Temporary] = {"SQLite": _file, "PostgreSQL": _own_database}
"""By name, what makes one for as long as it is needed, and gives its URL."""
