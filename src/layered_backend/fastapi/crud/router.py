"""The routes over the entities of one service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from layered_backend.fastapi.crud.conditions import WriteCondition, if_match_header, if_none_match_header
from layered_backend.fastapi.crud.keys import KeyPath
from layered_backend.fastapi.crud.operations import Operations
from layered_backend.fastapi.crud.reading import Reading
from layered_backend.fastapi.crud.routes import OPERATIONS, ROUTES, Operation, Route
from layered_backend.fastapi.service_classes import classes_behind
from layered_backend.fastapi.signatures import annotated, endpoint_of
from layered_backend.query import CursorPage, CursorParams, NumberedParams, OffsetParams, Page, PageParams
from layered_backend.service import BaseService
from layered_backend.upstream.fastapi import Dependency

__all__ = ["Operation", "crud_router"]

CreateT = TypeVar("CreateT", bound=BaseModel)
UpdateT = TypeVar("UpdateT", bound=BaseModel)


def crud_router(
    get_service: Callable[..., Coroutine[Any, Any, BaseService[Any, Any, CreateT, UpdateT, Any]]],
    *,
    read: type[BaseModel],
    create: type[CreateT] | None = None,
    update: type[UpdateT] | None = None,
    query: type[NumberedParams | CursorParams] = PageParams,
    only: Collection[Operation] = OPERATIONS,
    require_match: bool = False,
    write_dependencies: Sequence[Dependency] = (),
) -> APIRouter:
    """Return a router over the entities of a service.

        items = crud_router(get_item_service, read=ItemRead, create=ItemCreate, update=ItemUpdate, query=ItemQuery)
        app.include_router(items, prefix="/items", tags=["items"])

    Everything goes through the service, whose rules hold. Lists and single rows are read by projections where neither the
    service nor its repository has a reading method of its own; that is decided at each request, by what the dependency
    returns.

    Args:
        get_service: What `get_service` returned, or an `async def` of your own that says `-> ItemService`.
        read: What leaves; no field of a row that it does not name does.
        create: What POST and PUT take.
        update: What PATCH takes.
        query: The filters, the sort and the pages of the list: a kind of PageParams, OffsetParams or CursorParams.
        only: The operations to have; all of them unless it is given.
        require_match: Whether changing and deleting need `If-Match` (428), for a mapped class that is Versioned.
        write_dependencies: Of the operations that change something, such as `Depends(require_scopes("items:write"))`; what
            all of them depend on is `include_router`'s.

    Raises:
        TypeError: The classes do not fit together, or an operation lacks its schema.
        ValueError: *only* names no operation.
    """
    wanted = _checked_names(only)
    _refuse_unpaged(query)
    classes = classes_behind(get_service)
    reading = Reading(classes, read, query)
    if require_match and not reading.is_versioned:
        raise TypeError(f"require_match needs rows with versions; derive {classes.model.__name__} from Versioned")
    if "list" in wanted or "get" in wanted:
        reading.check(classes)
    schemas = {"create": create, "update": update}
    _refuse_missing(wanted, schemas)
    condition = WriteCondition(require_match)
    return _router(
        {name: [] if ROUTES[name].only_reads else [*write_dependencies] for name in wanted},
        get_service=get_service,
        reading=reading,
        query=query,
        schemas=schemas,
        condition=condition,
    )


def _checked_names(only: Collection[str]) -> list[Operation]:
    """Return the operations, in the order of the document.

    Raises:
        ValueError: One is none, or *only* is empty.
    """
    given = [only] if isinstance(only, str) else [*only]
    unknown = [name for name in given if name not in OPERATIONS]
    if unknown or not given:
        named = ", ".join(map(repr, unknown)) or "nothing"
        raise ValueError(f"only= names {named}; the operations are {', '.join(OPERATIONS)}")
    return [name for name in ROUTES if name in given]


def _refuse_unpaged(query: type[BaseModel]) -> None:
    kinds = [kind.__name__ for kind in (PageParams, OffsetParams, CursorParams) if issubclass(query, kind)]
    if not kinds:
        raise TypeError(
            f"{query.__name__} is no query with pages; derive it from PageParams, OffsetParams or CursorParams"
        )
    if len(kinds) > 1:
        raise TypeError(f"{query.__name__} has pages of several kinds; derive it from one of {', '.join(kinds)}")


def _refuse_missing(wanted: Collection[Operation], schemas: Mapping[str, Any]) -> None:
    for name in wanted:
        schema = ROUTES[name].takes
        if schema is not None and schemas[schema] is None:
            raise TypeError(f"{name} needs {schema}=; give it, or leave {name!r} out by only=(...)")


def _router(
    wanted: Mapping[Operation, list[Dependency]],
    *,
    get_service: Callable[..., Any],
    reading: Reading,
    query: type[BaseModel],
    schemas: Mapping[str, Any],
    condition: WriteCondition,
) -> APIRouter:
    router, keys = APIRouter(), KeyPath(reading.mapper)
    operations = Operations(reading, keys, condition)
    page: Any = CursorPage if issubclass(query, CursorParams) else Page
    annotations = {
        "service": annotated(Any, Depends(get_service)),
        "key": annotated(Any, Depends(keys.dependency())),
        "query": annotated(query, Query()),
        "if_match": if_match_header(is_shown=reading.is_versioned),
        "if_none_match": if_none_match_header(is_shown=reading.is_versioned),
        "request": Request,
        "response": Response,
    }
    for name, dependencies in wanted.items():
        route = ROUTES[name]
        body = {"data": annotated(schemas[route.takes], Body())} if route.takes else {}
        endpoint = endpoint_of(getattr(operations, name), reading.mapper.class_, annotations | body)
        router.add_api_route(
            keys.template if route.of_one else "",
            endpoint,
            methods=[route.method],
            status_code=route.status,
            response_model=_answer(route, page[reading.read], reading.read),
            responses=route.responses(is_versioned=reading.is_versioned, is_required=condition.is_required),
            dependencies=dependencies,
        )
    return router


def _answer(route: Route, page: object, one: object) -> object:
    if route.method == "DELETE":
        return None
    return one if route.of_one or route.takes else page
