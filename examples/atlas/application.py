"""The application: the layers, put together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from examples.atlas import routes
from examples.atlas.seeds import seeds
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import Database, health_router, install


def create_app(database: Database) -> FastAPI:
    """Return the application, which creates its tables and seeds the atlas before its first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        await database.create_all()
        yield

    app = FastAPI(title="Atlas", lifespan=lifespan)
    install(app, AtlasUnitOfWork, database=database, seeds=seeds, auto_seed="wait")
    app.include_router(routes.router)
    app.include_router(health_router())
    return app
