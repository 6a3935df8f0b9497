"""The applications whose documents are held against what they do."""

from __future__ import annotations

import datetime
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import sqlalchemy
from fastapi import FastAPI
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import URL

from layered_backend import (
    BaseRepository,
    BaseService,
    Database,
    FilterSet,
    PageParams,
    Where,
    crud_router,
    get_service,
    install,
)
from tests import stall
from tests.databases import Backend, new_database, pooled
from tests.stall import (
    PaperCreate,
    PaperRead,
    PaperService,
    PaperUpdate,
    Place,
    PlaceCreate,
    PlaceService,
    PlaceUpdate,
    Product,
    ProductCreate,
    ProductCursorQuery,
    ProductQuery,
    ProductRead,
    ProductService,
    ProductSorting,
    ProductUpdate,
    ProductWithMaker,
    StallUnitOfWork,
)

_LARGEST = 2**31 - 1  # that an INTEGER holds everywhere


def _refuse_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is no boolean")
    return value


def _refuse_number(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("a date is text")
    return value


# Pydantic takes false for 0, and a number for a date, which a document does not say.
_integer = BeforeValidator(_refuse_boolean)
Date = Annotated[datetime.date, BeforeValidator(_refuse_number)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
Word = Annotated[str, Field(min_length=1, max_length=10, pattern="^[a-z]+$")]
Price = Annotated[int, Field(ge=0, le=1_000_000), _integer]
Reference = Annotated[int, Field(ge=1, le=_LARGEST), _integer]
Amount = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST), _integer]


class ExactProductCreate(BaseModel):
    """Says all that the columns ask for."""

    name: Name
    price: Price
    note: Name | None = None
    amount: Amount | None = None
    made_on: Date | None = None
    color: Word = "white"
    maker_id: Reference | None = None


class ExactProductUpdate(BaseModel):
    name: Name = "tea"
    price: Price = 0
    note: Name | None = None
    amount: Amount | None = None


class ExactProductQuery(FilterSet, ProductSorting, PageParams):
    name: Annotated[Word | None, Where(Product.name.icontains)] = None


class ExactPlaceCreate(BaseModel):
    warehouse: Word
    item_code: Amount
    amount: Amount


class ExactPlaceUpdate(BaseModel):
    amount: Amount = 0


class ExactProductService(
    BaseService[Product, BaseRepository[Product], ExactProductCreate, ExactProductUpdate],
):
    pass


class ExactPlaceService(BaseService[Place, BaseRepository[Place], ExactPlaceCreate, ExactPlaceUpdate]):
    pass


def exact_application(database: Database) -> FastAPI:
    """Return an application whose schemas take what its database stores, and nothing else."""
    app = FastAPI()
    install(app, StallUnitOfWork, database=database)
    get_products, get_places = get_service(ExactProductService), get_service(ExactPlaceService)
    products = crud_router(
        get_products,
        read=ProductWithMaker,
        create=ExactProductCreate,
        update=ExactProductUpdate,
        query=ExactProductQuery,
    )
    places = crud_router(get_places, read=ExactPlaceCreate, create=ExactPlaceCreate, update=ExactPlaceUpdate)
    app.include_router(products, prefix="/products")
    app.include_router(places, prefix="/places")
    return app


def loose_application(database: Database) -> FastAPI:
    """Return an application whose schemas take what no database stores."""
    app = FastAPI()
    install(app, StallUnitOfWork, database=database)
    products = crud_router(
        get_service(ProductService),
        read=ProductRead,
        create=ProductCreate,
        update=ProductUpdate,
        query=ProductQuery,
        require_match=True,
    )
    cursors = crud_router(get_service(ProductService), read=ProductRead, query=ProductCursorQuery, only=("list", "get"))
    places = crud_router(get_service(PlaceService), read=PlaceCreate, create=PlaceCreate, update=PlaceUpdate)
    papers = crud_router(get_service(PaperService), read=PaperRead, create=PaperCreate, update=PaperUpdate)
    app.include_router(products, prefix="/products")
    app.include_router(cursors, prefix="/cursors")
    app.include_router(places, prefix="/places")
    app.include_router(papers, prefix="/papers")
    return app


@contextmanager
def tables_for(backend: Backend, folder: Path) -> Generator[URL]:
    """Make a database with the tables, and some rows, for the block."""
    with new_database(backend.server, folder) as url:
        engine = sqlalchemy.create_engine(url)
        stall.Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.insert(stall.Maker), [{"name": "Ann"}, {"name": "Ben"}])
        engine.dispose()
        yield pooled(url).set(drivername=f"{url.get_backend_name()}+{backend.driver}")


__all__ = ["exact_application", "loose_application", "tables_for"]
