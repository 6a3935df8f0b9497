"""Projections as dependencies: in the request's unit of work where it has one, else without a transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.exc import InvalidRequestError
from starlette.requests import HTTPConnection

from layered_backend.fastapi.actors import actor_of
from layered_backend.fastapi.dependencies import unit_in
from layered_backend.fastapi.installation import installation_of
from layered_backend.memoization import unique
from layered_backend.projection import AutocommitSource, Projection, SessionSource, Source, selection_of
from layered_backend.query.scope import ActiveScopes
from layered_backend.repository import BaseRepository, model_of
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["get_projection", "refuse_unreadable"]

T = TypeVar("T")
SchemaT = TypeVar("SchemaT", bound=BaseModel)


def get_projection(
    repository_class: type[BaseRepository[Any]],
    schema: type[SchemaT],
    *,
    unit_of_work: type[UnitOfWork] = UnitOfWork,
) -> Callable[[HTTPConnection], Coroutine[Any, Any, Projection[SchemaT]]]:
    """Return the dependency on a projection: the rows of a repository, read straight into *schema*.

        Items = Annotated[Projection[ItemRead], Depends(get_projection(ItemRepository, ItemRead))]

    It takes part in the request's unit of work where a dependency of the route has opened one. Else each read is on a
    connection of its own, without a transaction, with the scopes of the application's unit of work.

    The same arguments give the same dependency, so that `app.dependency_overrides` finds it.

    Args:
        repository_class: Whose rows; `BaseRepository[Item]` will do.
        schema: What to make of them.
        unit_of_work: Which unit of work, where the application has several.

    Raises:
        TypeError: A field of the schema has no column and no relationship, or a schema is nested in itself.
    """
    dependency: object = _projection_dependency(model_of(repository_class), schema, unit_of_work)
    return cast("Callable[[HTTPConnection], Coroutine[Any, Any, Projection[SchemaT]]]", dependency)


@unique
def _projection_dependency(
    model: type[Any], schema: type[BaseModel], unit_of_work: type[UnitOfWork]
) -> Callable[[HTTPConnection], Coroutine[Any, Any, Projection[Any]]]:
    refuse_unreadable(model, schema)

    async def get_the_projection(connection: HTTPConnection) -> Projection[Any]:
        principal = installation_of(connection).principal
        actor = None if principal is None else await actor_of(connection, principal)
        return Projection(_RequestSource(connection, unit_of_work, actor), model, schema)

    return get_the_projection


def refuse_unreadable(model: type[Any], schema: type[BaseModel]) -> None:
    """Raise if *schema* cannot be read from the rows of *model*.

    Raises:
        TypeError: A field of the schema has no column and no relationship, or a schema is nested in itself.
    """
    try:
        selection_of(model, schema)
    except InvalidRequestError:  # a class that it is related to has not been imported yet
        return


class _RequestSource:
    """Decides at each read where to read, as the unit of work may be opened after the projection is made."""

    def __init__(self, connection: HTTPConnection, wanted: type[UnitOfWork], actor: Any) -> None:
        self._connection = connection
        self._wanted = wanted
        self._actor = actor
        self._alone: AutocommitSource | None = None

    @property
    def dialect(self) -> Dialect:
        return self._source.dialect

    @property
    def scopes(self) -> ActiveScopes:
        return self._source.scopes

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._source.read(work)

    def stream(self, statement: Select[Any], batch_size: int) -> AsyncGenerator[Sequence[Any]]:
        return self._source.stream(statement, batch_size)

    @property
    def _source(self) -> Source:
        uow = unit_in(self._connection, self._wanted)
        if uow is not None:
            return SessionSource(uow.session)
        if self._alone is None:
            uow = installation_of(self._connection).open(self._wanted)
            self._alone = AutocommitSource(uow.database, ActiveScopes(uow.scopes, lambda: self._actor))
        return self._alone
