"""The application with the library: a service for entities, and a projection, in the unit of work and outside one."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI

from benchmarks.shop import Item, ItemCreate, ItemRead, ItemUpdate, ShopUnitOfWork
from layered_backend import (
    BaseRepository,
    BaseService,
    Database,
    Projection,
    UOWDep,
    get_projection,
    get_service,
    install,
)

__all__ = ["layered_application"]


class ItemService(BaseService[Item, BaseRepository[Item], ItemCreate, ItemUpdate]):
    """Of the items."""


ServiceDep = Annotated[ItemService, Depends(get_service(ItemService))]
ItemsDep = Annotated[Projection[ItemRead], Depends(get_projection(BaseRepository[Item], ItemRead))]


def layered_application(database: Database) -> FastAPI:
    """Return the application on *database*: each route three times, by what it returns and where it reads."""
    app = FastAPI()
    install(app, ShopUnitOfWork, database=database)
    _add_nothing(app)
    _add_entities(app)
    _add_schemas(app)
    return app


def _add_nothing(app: FastAPI) -> None:
    @app.get("/nothing")
    async def nothing(service: ServiceDep) -> dict[str, bool]:
        return {"done": True}

    @app.get("/nothing-alone")
    async def nothing_alone(items: ItemsDep) -> dict[str, bool]:
        return {"done": True}


def _add_entities(app: FastAPI) -> None:
    @app.get("/entities/{item_id}", response_model=ItemRead)
    async def read_entity(item_id: int, service: ServiceDep) -> Item:
        return await service.get(item_id)

    @app.get("/entities", response_model=list[ItemRead])
    async def read_entities(service: ServiceDep, offset: int = 0, limit: int = 50) -> Sequence[Item]:
        return await service.list(offset=offset, limit=limit)

    @app.post("/entities", response_model=ItemRead, status_code=201)
    async def create_entity(data: ItemCreate, service: ServiceDep) -> Item:
        return await service.create(data)


def _add_schemas(app: FastAPI) -> None:
    @app.get("/schemas/{item_id}")
    async def read_schema(item_id: int, uow: UOWDep, items: ItemsDep) -> ItemRead:
        return await items.get(item_id)

    @app.get("/schemas")
    async def read_schemas(uow: UOWDep, items: ItemsDep, offset: int = 0, limit: int = 50) -> Sequence[ItemRead]:
        return await items.list(offset=offset, limit=limit)

    @app.post("/schemas", status_code=201)
    async def create_schema(data: ItemCreate, service: ServiceDep) -> ItemRead:
        return await service.repository.returning(ItemRead).create(data)

    @app.get("/schemas-alone/{item_id}")
    async def read_schema_alone(item_id: int, items: ItemsDep) -> ItemRead:
        return await items.get(item_id)

    @app.get("/schemas-alone")
    async def read_schemas_alone(items: ItemsDep, offset: int = 0, limit: int = 50) -> Sequence[ItemRead]:
        return await items.list(offset=offset, limit=limit)
