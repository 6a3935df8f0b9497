"""A part of a unit of work that can fail alone."""

from __future__ import annotations

from types import TracebackType

from sqlalchemy.orm import Session, SessionTransaction

from layered_backend.errors import UnitOfWorkError
from layered_backend.session import GuardedSession, drive

__all__ = ["Savepoint"]


class Savepoint:
    """A block whose error undoes only what the block did. Lives as long as its block; made by `UnitOfWork.savepoint`."""

    def __init__(self, session: GuardedSession) -> None:
        self._session = session
        self._nested: SessionTransaction | None = None

    async def __aenter__(self) -> None:
        await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close(error)

    def __enter__(self) -> None:
        if self._session.is_asynchronous:
            raise UnitOfWorkError("this unit of work was opened with `async with`; write `async with uow.savepoint():`")
        drive(self._open())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._close(error))

    async def _open(self) -> None:
        self._nested = await self._session.run_sync(Session.begin_nested)
        self._nested.__enter__()

    async def _close(self, error: BaseException | None) -> None:
        nested, kind = self._nested, None if error is None else type(error)
        assert nested is not None
        await self._session.run_sync(lambda _: nested.__exit__(kind, error, None))
