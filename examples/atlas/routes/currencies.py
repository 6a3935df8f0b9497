"""Currencies over HTTP: to read only."""

from typing import Annotated

from fastapi import APIRouter, Query

from examples.atlas.routes.dependencies import CurrenciesDep
from examples.atlas.schemas import CurrencyCode, CurrencyRead
from layered_backend import Page, PageParams

router = APIRouter(prefix="/currencies", tags=["currencies"])


@router.get("")
async def list_currencies(query: Annotated[PageParams, Query()], currencies: CurrenciesDep) -> Page[CurrencyRead]:
    """List the currencies by their code."""
    return await currencies.page(query)


@router.get("/{alpha_3}")
async def read_currency(alpha_3: CurrencyCode, currencies: CurrenciesDep) -> CurrencyRead:
    """Read one currency."""
    return await currencies.get(alpha_3)
