"""Guarantee 5: a response that does not fit its model is an error, and undoes the work."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from layered_backend import get_service
from tests.faults.store import Store
from tests.shop import ItemCreate, ItemRead, ItemService

router = APIRouter()


@router.post("/unfit-responses", response_model=ItemRead)
async def create_and_answer_with_something_else(
    data: ItemCreate, service: Annotated[ItemService, Depends(get_service(ItemService))]
) -> Any:
    item = await service.create(data)
    return {"id": "no number", "name": item.name}


async def test_a_response_that_does_not_fit_its_model_saves_nothing(store: Store) -> None:
    async with store.server.client() as client:
        answer = await client.post("/unfit-responses", json={"name": "tea", "price": "1"})

    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
    assert await store.journal() == ["response 500"]
    assert store.witness.count("items") == 0
    assert "ResponseValidationError" in store.log
