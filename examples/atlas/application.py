"""The application: the layers, put together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from examples.atlas import routes
from examples.atlas.loading import load_atlas
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import Database, install


def create_app(database: Database) -> FastAPI:
    """Return the application, which creates its tables and loads the atlas when it starts for the first time."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        await database.create_all()
        await load_atlas(database)
        yield

    app = FastAPI(title="Atlas", lifespan=lifespan)
    install(app, AtlasUnitOfWork, database=database)
    app.include_router(routes.router)
    return app
