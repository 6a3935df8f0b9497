"""Units of work and repositories that have no database, and refuse what the real ones do not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar, cast, get_args, get_origin
from unittest.mock import create_autospec

from sqlalchemy import Engine, create_engine

from layered_backend.database import Database
from layered_backend.errors import UnitOfWorkError
from layered_backend.repository import BaseRepository, repository_of
from layered_backend.session import GuardedSession
from layered_backend.type_arguments import type_arguments
from layered_backend.unit_of_work import Savepoint, UnitOfWork

__all__ = ["MockedMethod", "mock_repository", "mock_uow", "mocked"]

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])
UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)


class MockedMethod(Protocol, Generic[P, ResultT]):
    """A method of a mock: `unittest.mock.AsyncMock`, with the types of the method.

    Attributes:
        return_value: What awaiting a call of it returns.
        side_effect: A function to call instead, an error to raise, or several of what it returns, one for each call.
        await_count: How often it was awaited.
        await_args: What it was given the last time, with `args` and `kwargs`; None where it was never awaited.
    """

    return_value: ResultT
    side_effect: Any
    await_count: int
    await_args: Any

    def assert_awaited_once_with(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def assert_awaited_with(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def assert_any_await(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def assert_awaited_once(self) -> None: ...
    def assert_awaited(self) -> None: ...
    def assert_not_awaited(self) -> None: ...


def mocked(method: Callable[P, Awaitable[ResultT]]) -> MockedMethod[P, ResultT]:
    """Return *method*, of a mock, as what it is to a type checker too: `mocked(repository.get).return_value = item`."""
    return cast("MockedMethod[P, ResultT]", method)


def mock_repository(repository_class: type[RepositoryT], model: type[Any] | None = None) -> RepositoryT:
    """Return a mock of that class: each of its methods can be awaited, and does nothing.

    A method that the class does not have is an AttributeError, and arguments that it does not take are a TypeError.

    Args:
        repository_class: The class, or a generic one with its argument: `BaseRepository[Item]`.
        model: The mapped class, where the repository's class does not name it.
    """
    real = repository_of(repository_class, _session(asynchronous=True), model)
    mock: Any = create_autospec(real, spec_set=True, instance=True)
    mock.model, mock.session = real.model, real.session
    return cast("RepositoryT", mock)


def mock_uow(unit_of_work: type[UnitOfWorkT], *, actor: Any = None) -> UnitOfWorkT:
    """Return a unit of work of that class without a database, whose repositories are mocks.

    It commits, rolls back and runs its hooks as a real one does, and tells its outcome. It need not be entered. A service
    that is built in it has the same mock for a repository as the unit of work itself.

    Args:
        unit_of_work: The class.
        actor: Who works.
    """
    kind: Any = type(f"Mock{unit_of_work.__name__}", (_MockUnitOfWork, unit_of_work), {})
    return cast("UnitOfWorkT", kind(_NoDatabase(), actor=actor))


class _NoDatabase(Database):
    """A database that every session can be made for, and no connection."""

    def __init__(self) -> None:
        super().__init__("sqlite://")

    def session(self, *, asynchronous: bool = True, **transaction: object) -> GuardedSession:
        return _session(asynchronous=asynchronous)


class _MockUnitOfWork(UnitOfWork):
    @property
    def session(self) -> GuardedSession:
        if self._session is None and not self.is_finished:
            self._open(asynchronous=True)
        return super().session

    def repository(self, repository_class: type[RepositoryT], model: type[Any] | None = None) -> RepositoryT:
        key = _named(repository_class, model)
        if key not in self._repositories:
            self._repositories[key] = mock_repository(*key)
        return cast("RepositoryT", self._repositories[key])

    def savepoint(self) -> Savepoint:
        return _MockSavepoint(self.session)

    def _enter(self, *, asynchronous: bool) -> Self:
        if self._depth == 0 and not self.is_finished:
            self._session = None  # of before, when nobody could tell who would enter
        return super()._enter(asynchronous=asynchronous)


class _MockSavepoint(Savepoint):
    async def _open(self) -> None:
        self._session.state.open_savepoint(f"mock {id(self)}")

    async def _close(self, error: BaseException | None) -> None:
        end = self._session.state.release_savepoint if error is None else self._session.state.undo_savepoint
        end(f"mock {id(self)}")


def _named(repository_class: Any, model: type[Any] | None) -> tuple[type[Any], type[Any] | None]:
    """Return the class without its arguments, and the mapped class, by whichever of the two it is named."""
    origin = get_origin(repository_class) or repository_class
    argument = (*get_args(repository_class), *type_arguments(origin, BaseRepository), None)[0]
    return origin, model or (argument if isinstance(argument, type) else None)


def _session(*, asynchronous: bool) -> GuardedSession:
    return GuardedSession(_engine(), asynchronous=asynchronous)


def _engine() -> Engine:
    return create_engine("sqlite://", creator=_refuse)


def _refuse() -> NoReturn:
    raise UnitOfWorkError(
        "a mock has no database; take the fixture `uow` for what reads and writes, or tell the mock what to return"
    )
