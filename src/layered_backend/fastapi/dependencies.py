"""The dependencies of FastAPI: the request's unit of work, and what works in it.

All are `async def`: FastAPI runs a synchronous dependency in a thread, which costs more than a query.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Annotated, Any, NamedTuple, TypeVar, cast, overload

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from layered_backend.fastapi.actors import actor_of
from layered_backend.fastapi.endpoints import refuse_synchronous
from layered_backend.fastapi.installation import installation_of
from layered_backend.fastapi.service_classes import remember_classes
from layered_backend.memoization import unique
from layered_backend.repository import BaseRepository
from layered_backend.service import BaseService, unit_of_work_of
from layered_backend.unit_of_work import UnitOfWork
from layered_backend.upstream.fastapi import HandlerRun, run_of, watch_handlers
from layered_backend.upstream.starlette import endpoint_of

__all__ = [
    "SessionDep",
    "UOWDep",
    "get_repository",
    "get_service",
    "get_session",
    "get_uow",
    "unit_in",
    "uow_dependency",
]

ModelT = TypeVar("ModelT")
RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])
ServiceT = TypeVar("ServiceT")
BaseServiceT = TypeVar("BaseServiceT", bound=BaseService[Any, Any, Any, Any, Any])
UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)

_UNITS = "layered_backend.units"
_SAFE_METHODS = frozenset({"GET", "HEAD"})


watch_handlers()  # a route is made after the dependencies of this module, which it is made of


class _Opened(NamedTuple):
    """A unit of work of a request, and the run of the route's handler that it is part of, if the route's class wraps it."""

    uow: UnitOfWork
    run: HandlerRun | None

    @property
    def has_failed(self) -> bool:
        """Whether the handler raised, and the route's class may have answered the error."""
        return self.run is not None and self.run.has_failed


class _AnsweredError(Exception):
    """Ends a unit of work whose handler raised, where FastAPI tells it nothing; the response is the route class's."""


def unit_in(connection: HTTPConnection, wanted: type[UnitOfWork]) -> UnitOfWork | None:
    """Return the request's unit of work of that kind, where a dependency has opened it."""
    opened = _units_of(connection).get(installation_of(connection).kind(wanted))
    return None if opened is None or opened.has_failed else opened.uow


def _units_of(connection: HTTPConnection) -> dict[type[UnitOfWork], _Opened]:
    units: dict[type[UnitOfWork], _Opened] = connection.scope.setdefault(_UNITS, {})
    return units


def _opener(wanted: type[UnitOfWork]) -> Callable[[HTTPConnection], AsyncGenerator[UnitOfWork]]:
    """Return the generator that opens the request's unit of work of that kind, and ends it before the response."""

    async def open_unit(connection: HTTPConnection) -> AsyncGenerator[UnitOfWork]:
        refuse_synchronous(endpoint_of(connection))
        installation, units = installation_of(connection), _units_of(connection)
        kind = installation.kind(wanted)
        before = units.get(kind)
        if before is not None and not before.has_failed:
            yield before.uow
            return
        if before is not None:  # the route's class tries again: the first attempt must hold no lock
            await before.uow.end_if_abandoned()
        opened = units[kind] = _Opened(installation.open(wanted), run_of(connection.scope))
        uow = opened.uow
        uow.begins_deferred = connection.scope.get("method") in _SAFE_METHODS  # readers do not queue behind a writer
        if installation.principal is not None:
            uow.actor = await actor_of(connection, installation.principal)
        try:
            async with uow:
                yield uow
                if opened.has_failed:
                    raise _AnsweredError
        except _AnsweredError:
            pass

    return open_unit


async def get_uow(uow: Annotated[UnitOfWork, Depends(_opener(UnitOfWork), scope="function")]) -> UnitOfWork:
    """Return the request's unit of work, which commits before the response is sent.

    There is one for each request, however many dependencies ask for it and whatever scope they write.

    Raises:
        UnitOfWorkError: The application has none (see `install`), or the route is not `async def`.
    """
    return uow


UOWDep = Annotated[UnitOfWork, Depends(get_uow)]
"""The request's unit of work, as an annotation."""


async def get_session(uow: UOWDep) -> AsyncSession:
    """Return the session of the request's unit of work."""
    return uow.session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
"""The session of the request's unit of work, as an annotation."""


def uow_dependency(unit_of_work: type[UnitOfWorkT]) -> Callable[..., Coroutine[Any, Any, UnitOfWorkT]]:
    """Return the dependency on a unit of work of that class, one for each request.

    It names the class for type checkers, and it serves a second database beside the installed one. Where
    *unit_of_work* is the installed class, or a base of it, it is the same unit of work as `get_uow`'s.

        ReportUOW = Annotated[ReportUnitOfWork, Depends(uow_dependency(ReportUnitOfWork))]
    """
    return cast("Callable[..., Coroutine[Any, Any, UnitOfWorkT]]", _uow_dependency(unit_of_work))


@unique
def _uow_dependency(unit_of_work: type[UnitOfWork]) -> Callable[..., Coroutine[Any, Any, UnitOfWork]]:
    async def get_unit(uow: Annotated[UnitOfWork, Depends(_opener(unit_of_work), scope="function")]) -> UnitOfWork:
        return uow

    return get_unit


def get_repository(
    repository_class: type[RepositoryT], *, unit_of_work: type[UnitOfWork] = UnitOfWork
) -> Callable[[UnitOfWork], Coroutine[Any, Any, RepositoryT]]:
    """Return the dependency on a repository in the request's unit of work.

    Args:
        repository_class: What to build; the same class gives the same dependency.
        unit_of_work: Which unit of work, where the application has several.
    """
    dependency: object = _repository_dependency(repository_class, unit_of_work)
    return cast("Callable[[UnitOfWork], Coroutine[Any, Any, RepositoryT]]", dependency)


@unique
def _repository_dependency(
    repository_class: type[BaseRepository[Any]], unit_of_work: type[UnitOfWork]
) -> Callable[[UnitOfWork], Coroutine[Any, Any, BaseRepository[Any]]]:
    async def get_the_repository(uow: Annotated[UnitOfWork, Depends(_source(unit_of_work))]) -> BaseRepository[Any]:
        return uow.repository(repository_class)

    return get_the_repository


@overload
def get_service(
    service_class: type[BaseServiceT], /, *, unit_of_work: type[UnitOfWork] | None = None
) -> Callable[[UnitOfWork], Coroutine[Any, Any, BaseServiceT]]: ...


@overload
def get_service(
    service_class: Callable[[type[RepositoryT], type[ModelT], Any], ServiceT],
    repository_class: type[RepositoryT],
    model_class: type[ModelT],
    /,
    *,
    unit_of_work: type[UnitOfWork] | None = None,
) -> Callable[[UnitOfWork], Coroutine[Any, Any, ServiceT]]: ...


def get_service(
    service_class: Any,
    repository_class: Any = None,
    model_class: Any = None,
    /,
    *,
    unit_of_work: type[UnitOfWork] | None = None,
) -> object:
    """Return the dependency on a service in the request's unit of work.

        get_item_service = get_service(ItemService, ItemRepository, Item)

        @router.get("/{item_id}")
        async def read_item(item_id: int, service: Annotated[ItemService, Depends(get_item_service)]): ...

    The same arguments give the same dependency, so that `Depends(get_service(...))` may be written inline: a request
    then has one such service, and `app.dependency_overrides` finds it.

    Args:
        service_class: What to build.
        repository_class: The repository to give it; the service's type argument unless it is given.
        model_class: The mapped class to give it; the service's type argument unless it is given.
        unit_of_work: Which unit of work; the service's type argument unless it is given.

    Raises:
        TypeError: The service has a constructor that takes something else.
    """
    unit_of_work = unit_of_work or unit_of_work_of(service_class)
    _refuse_other_constructor(service_class)
    if repository_class is None:
        dependency = _service_dependency(service_class.of, (), unit_of_work)
    else:
        dependency = _service_dependency(service_class, (repository_class, model_class), unit_of_work)
    remember_classes(dependency, service_class, repository_class, model_class)
    return dependency


def _refuse_other_constructor(service_class: Any) -> None:
    try:
        inspect.signature(service_class).bind("repository class", "model class", "unit of work")
    except TypeError as error:
        raise TypeError(
            f"{service_class.__name__} is not built from a repository class, a model class and a unit of work; write "
            f"`async def get_it(uow: UOWDep) -> {service_class.__name__}: return {service_class.__name__}(...)` for it"
        ) from error


@unique
def _service_dependency(
    build: Callable[..., Any], classes: tuple[type, ...], unit_of_work: type[UnitOfWork]
) -> Callable[[UnitOfWork], Coroutine[Any, Any, Any]]:
    async def get_the_service(uow: Annotated[UnitOfWork, Depends(_source(unit_of_work))]) -> Any:
        return build(*classes, uow)

    return get_the_service


def _source(unit_of_work: type[UnitOfWork]) -> Callable[..., Coroutine[Any, Any, UnitOfWork]]:
    return get_uow if unit_of_work is UnitOfWork else _uow_dependency(unit_of_work)
