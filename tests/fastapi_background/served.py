"""The application that uvicorn serves in the tests, on the database in SERVED_DATABASE_URL."""

# No deferred annotations: FastAPI could not look up what is defined by assignment.

import asyncio
import logging
import os
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI

from layered_backend import Background, Database, install, run_in_background, uow_dependency
from tests.shop import ShopUnitOfWork

_logger = logging.getLogger("shop")

app = FastAPI()
install(
    app,
    ShopUnitOfWork,
    database=Database(os.environ["SERVED_DATABASE_URL"]),
    background=Background(drain=4),
)


async def write_slowly(uow: ShopUnitOfWork, name: str, seconds: float) -> None:
    await uow.countries.create({"code": name, "name": name})
    _logger.info("%s has begun", name)
    await asyncio.sleep(seconds)
    _logger.info("%s is about to end", name)


@app.post("/{name}")
async def begin(
    name: str,
    seconds: float,
    uow: Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))],
    tasks: BackgroundTasks,
) -> None:
    run_in_background(tasks, ShopUnitOfWork, write_slowly, name, seconds)


@app.get("/")
async def read() -> None:
    _logger.info("in the handler")


@app.get("/broken")
async def broken() -> None:
    raise KeyError("of the handler")
