"""The whole stack in one file. To run it: `uvicorn examples.minimal:app`, then open http://127.0.0.1:8000/docs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field
from sqlalchemy.orm import Mapped, mapped_column

import layered_backend as lb


class Item(lb.IntegerPrimaryKey, lb.Timestamped, lb.Base):
    __tablename__ = "items"
    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal]


class ItemCreate(BaseModel):
    name: str
    price: Decimal = Field(gt=0, decimal_places=2)


class ItemUpdate(BaseModel):
    name: str | None = None
    price: Decimal | None = Field(None, gt=0, decimal_places=2)


class ItemRead(BaseModel):
    id: int
    name: str
    price: Decimal


class ItemRepository(lb.BaseRepository[Item]):
    async def cheaper_than(self, price: Decimal) -> Sequence[Item]:
        return await self.list(Item.price < price, order_by=Item.price)


class ItemService(lb.BaseService[Item, ItemRepository, ItemCreate, ItemUpdate]):
    async def discount(self, item_id: int, percent: int) -> Item:
        item = await self.get(item_id)
        return await self.repository.update(item, {"price": round(item.price * (100 - percent) / 100, 2)})


class ShopUnitOfWork(lb.UnitOfWork):
    database = lb.Database("sqlite:///minimal.db")
    items: ItemRepository


Service = Annotated[ItemService, Depends(lb.get_service(ItemService, ItemRepository, Item))]
ShopUnitOfWork.database.create_all_sync()
app = FastAPI(title="Shop")
lb.install(app, ShopUnitOfWork)


@app.post("/items", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate, service: Service) -> Item:
    return await service.create(data)


@app.get("/items", response_model=list[ItemRead])
async def list_items(service: Service, cheaper_than: Decimal = Decimal(1_000_000)) -> Sequence[Item]:
    return await service.repository.cheaper_than(cheaper_than)


@app.get("/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, service: Service) -> Item:
    return await service.get(item_id)


@app.patch("/items/{item_id}", response_model=ItemRead)
async def update_item(item_id: int, data: ItemUpdate, service: Service) -> Item:
    return await service.update(item_id, data)


@app.delete("/items/{item_id}", status_code=204)
async def delete_item(item_id: int, service: Service) -> None:
    await service.delete(item_id)


@app.post("/items/{item_id}/discount", response_model=ItemRead)
async def discount_item(item_id: int, percent: Annotated[int, Query(gt=0, lt=100)], service: Service) -> Item:
    return await service.discount(item_id, percent)
