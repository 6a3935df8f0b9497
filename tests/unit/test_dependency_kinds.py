"""What our dependencies are for FastAPI: a synchronous one would cost each request a trip to another thread."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Security
from fastapi.routing import APIRoute

from layered_backend import (
    IfMatchDep,
    Projection,
    SessionDep,
    UnitOfWork,
    UOWDep,
    current_principal,
    get_projection,
    get_repository,
    get_service,
    get_settings,
    health_router,
    require_scopes,
    uow_dependency,
)
from layered_backend.security import AccessTokens
from layered_backend.settings import Settings
from tests.shop import Item, ItemRead, ItemRepository, ItemService, ShopUnitOfWork

Service = Annotated[ItemService, Depends(get_service(ItemService, ItemRepository, Item))]
Repository = Annotated[ItemRepository, Depends(get_repository(ItemRepository))]
ShopUOW = Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))]
Items = Annotated[Projection[ItemRead], Depends(get_projection(ItemRepository, ItemRead))]


Configuration = Annotated[Settings, Depends(get_settings(Settings))]


class ReportUnitOfWork(UnitOfWork):
    pass


ReportUOW = Annotated[ReportUnitOfWork, Depends(uow_dependency(ReportUnitOfWork))]
get_principal = current_principal(
    AccessTokens("a key of thirty-two bytes or more", issuer="https://shop.example", audience="shop")
)


async def _the_layers(service: Service, repository: Repository, uow: UOWDep, session: SessionDep) -> None: ...


async def _beside_them(uow: UOWDep, items: Items, condition: IfMatchDep) -> None: ...


async def _projections_only(items: Items) -> None: ...


async def _two_databases(service: Service, other: ReportUOW) -> None: ...


async def _named(uow: ShopUOW) -> None: ...


async def _set_up(settings: Configuration) -> None: ...
async def _secured(
    uow: UOWDep,
    principal: Annotated[Any, Security(get_principal, scopes=["items:read"])],
    visitor: Annotated[Any, Depends(get_principal.optional)],
    actor: Annotated[Any, Depends(require_scopes("items:write"))],
) -> None: ...


def _calls(endpoint: Callable[..., Any]) -> set[Any]:
    app = FastAPI()
    app.get("/")(endpoint)
    (route,) = (route for route in app.routes if isinstance(route, APIRoute))
    return set(_below(route.dependant))


def _below(dependant: Any) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _below(inner)


def _is_coroutine(call: Any) -> bool:
    return inspect.iscoroutinefunction(call if inspect.isfunction(call) else type(call).__call__)


@pytest.mark.parametrize(
    ("endpoint", "generators"),
    [
        (_the_layers, 1),
        (_beside_them, 1),
        (_named, 1),
        (_secured, 1),
        (_two_databases, 2),
        (_projections_only, 0),
        (_set_up, 0),
    ],
)
def test_none_is_synchronous_and_each_kind_of_unit_of_work_is_one_generator(
    endpoint: Callable[..., Any], generators: int
) -> None:
    calls = _calls(endpoint)

    assert calls
    assert not [call for call in calls if not (_is_coroutine(call) or inspect.isasyncgenfunction(call))]
    assert len([call for call in calls if inspect.isasyncgenfunction(call)]) == generators


def test_the_health_routes_are_asynchronous_and_so_is_all_they_depend_on() -> None:
    routes = [route for route in health_router().routes if isinstance(route, APIRoute)]

    calls = [route.endpoint for route in routes] + [call for route in routes for call in _below(route.dependant)]

    assert routes
    assert all(inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call) for call in calls)
