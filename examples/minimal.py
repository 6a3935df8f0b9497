"""The whole stack in one file. To run it: `uvicorn examples.minimal:app`, then open http://127.0.0.1:8000/docs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Body, Depends, FastAPI
from pydantic import BaseModel, Field
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import (
    Base,
    BaseRepository,
    BaseService,
    Database,
    IntegerPrimaryKey,
    Timestamped,
    UnitOfWork,
    get_service,
    install,
)

Price = Annotated[Decimal, Field(gt=0, max_digits=10, decimal_places=2)]
Percent = Annotated[int, Body(embed=True, gt=0, lt=100)]


class Item(IntegerPrimaryKey, Timestamped, Base):
    __tablename__ = "items"
    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal]


class ItemCreate(BaseModel):
    name: str
    price: Price


class ItemUpdate(BaseModel):
    name: str | None = None
    price: Price | None = None


class ItemRead(BaseModel):
    id: int
    name: str
    price: Decimal


class ItemRepository(BaseRepository[Item]):
    async def cheaper_than(self, price: Decimal) -> Sequence[Item]:
        return await self.list(Item.price < price, order_by=Item.price)


class ShopUnitOfWork(UnitOfWork):
    database = Database("sqlite:///minimal.db")
    items: ItemRepository


class ItemService(BaseService[Item, ItemRepository, ItemCreate, ItemUpdate]):
    async def discount(self, item_id: int, percent: int) -> Item:
        item = await self.get(item_id)
        return await self.repository.update(item, {"price": round(item.price * (100 - percent) / 100, 2)})


get_item_service = get_service(ItemService, ItemRepository, Item)
Service = Annotated[ItemService, Depends(get_item_service)]
router = APIRouter(prefix="/items", tags=["items"])


@router.post("", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate, service: Service) -> Item:
    return await service.create(data)


@router.get("", response_model=list[ItemRead])
async def list_items(service: Service, cheaper_than: Decimal | None = None) -> Sequence[Item]:
    return await (service.list() if cheaper_than is None else service.repository.cheaper_than(cheaper_than))


@router.get("/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, service: Service) -> Item:
    return await service.get(item_id)


@router.patch("/{item_id}", response_model=ItemRead)
async def update_item(item_id: int, data: ItemUpdate, service: Service) -> Item:
    return await service.update(item_id, data)


@router.delete("/{item_id}", status_code=204)
async def delete_item(item_id: int, service: Service) -> None:
    await service.delete(item_id)


@router.post("/{item_id}/discount", response_model=ItemRead)
async def discount_item(item_id: int, percent: Percent, service: Service) -> Item:
    return await service.discount(item_id, percent)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    await ShopUnitOfWork.database.create_all()
    yield


app = FastAPI(title="Shop", lifespan=lifespan)
install(app, ShopUnitOfWork)
app.include_router(router)
