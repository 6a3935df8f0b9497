"""Projections as dependencies: in the request's unit of work where it has one, else without a transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, cast

from fastapi import Depends
from pydantic import BaseModel
from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.exc import InvalidRequestError
from starlette.requests import HTTPConnection

from layered_backend.fastapi.actors import actor_of
from layered_backend.fastapi.dependencies import unit_in
from layered_backend.fastapi.installation import installation_of
from layered_backend.fastapi.signatures import annotated, signed
from layered_backend.memoization import unique
from layered_backend.projection import (
    AutocommitSource,
    GivenValue,
    Projection,
    SessionSource,
    Source,
    expressions_of,
    selection_of,
)
from layered_backend.query.scope import ActiveScopes
from layered_backend.repository import BaseRepository, model_of
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["get_projection", "refuse_unreadable"]

T = TypeVar("T")
SchemaT = TypeVar("SchemaT", bound=BaseModel)

_NO_VALUES: Mapping[str, Any] = MappingProxyType({})


def get_projection(
    repository_class: type[BaseRepository[Any]],
    schema: type[SchemaT],
    *,
    unit_of_work: type[UnitOfWork] = UnitOfWork,
    **values: GivenValue | Callable[..., Any],
) -> Callable[[HTTPConnection], Coroutine[Any, Any, Projection[SchemaT]]]:
    """Return the dependency on a projection: the rows of a repository, read straight into *schema*.

        Items = Annotated[Projection[ItemRead], Depends(get_projection(ItemRepository, ItemRead))]

    It takes part in the request's unit of work where a dependency of the route has opened one. Else each read is on a
    connection of its own, without a transaction, with the scopes of the application's unit of work.

    A value that depends on the request is a dependency that returns the expression:

        def is_favorite(viewer: Viewer) -> ColumnElement[bool]:
            return exists().where(Favorite.article_id == Article.id, Favorite.user_id == viewer.id)

        get_projection(ArticleRepository, ArticleRead, favorites=count, favorited=is_favorite)

    The same arguments give the same dependency, so that `app.dependency_overrides` finds it.

    Args:
        repository_class: Whose rows; `BaseRepository[Item]` will do.
        schema: What to make of them.
        unit_of_work: Which unit of work, where the application has several.
        values: The values of fields that no column has, as for `BaseRepository.project`, or dependencies that return them.

    Raises:
        TypeError: A field of the schema cannot be read, a value belongs to no field or is no value of a row, or a schema
            is nested in itself.
    """
    model = model_of(repository_class)
    refuse_unreadable(model, schema, values, {name: value for name, value in values.items() if not callable(value)})
    dependency: object = _projection_dependency(model, schema, unit_of_work, tuple(values.items()))
    return cast("Callable[[HTTPConnection], Coroutine[Any, Any, Projection[SchemaT]]]", dependency)


@unique
def _projection_dependency(
    model: type[Any], schema: type[BaseModel], unit_of_work: type[UnitOfWork], values: tuple[tuple[str, Any], ...]
) -> Callable[..., Coroutine[Any, Any, Projection[Any]]]:
    asked = {name: value for name, value in values if callable(value)}
    fixed = {name: value for name, value in values if name not in asked}

    async def get_the_projection(connection: HTTPConnection, **given: Any) -> Projection[Any]:
        principal = installation_of(connection).principal
        actor = None if principal is None else await actor_of(connection, principal)
        return Projection(
            _RequestSource(connection, unit_of_work, actor),
            model,
            schema,
            fixed | {name: given[f"given_{name}"] for name in asked},
        )

    annotations = {f"given_{name}": annotated(Any, Depends(value)) for name, value in asked.items()}
    signed(get_the_projection, {"connection": HTTPConnection, **annotations})
    return get_the_projection


def refuse_unreadable(
    model: type[Any], schema: type[BaseModel], given: Iterable[str] = (), values: Mapping[str, Any] = _NO_VALUES
) -> None:
    """Raise if *schema* cannot be read from the rows of *model*.

    Args:
        model: The mapped class.
        schema: What to make of its rows.
        given: The fields that have a value of their own.
        values: Those of the values that are known.

    Raises:
        TypeError: A field of the schema cannot be read, a value belongs to no field or is no value of a row, or a schema
            is nested in itself.
    """
    try:
        selection_of(model, schema, tuple(given))
        expressions_of(model, values)
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
