"""A part of a repository's work that may fail alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

__all__ = ["undone_alone"]


@asynccontextmanager
async def undone_alone(session: AsyncSession) -> AsyncGenerator[None]:
    """Undo the block, and nothing else, where it raises."""
    await session.flush()
    nested = await session.run_sync(_begin)
    try:
        yield
    except BaseException:
        await session.run_sync(lambda _: nested.rollback())
        raise
    await session.run_sync(lambda _: nested.commit())


def _begin(session: Session) -> SessionTransaction:
    nested = session.begin_nested()
    session.connection()  # SAVEPOINT is sent now, not before the first statement
    return nested
