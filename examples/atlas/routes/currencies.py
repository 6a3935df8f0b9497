"""Currencies over HTTP: to read only."""

from collections.abc import Sequence

from fastapi import APIRouter

from examples.atlas.models import Currency
from examples.atlas.routes.dependencies import CurrencyServiceDep, PagingQuery
from examples.atlas.schemas import CurrencyCode, CurrencyRead

router = APIRouter(prefix="/currencies", tags=["currencies"])


@router.get("", response_model=list[CurrencyRead])
async def list_currencies(paging: PagingQuery, service: CurrencyServiceDep) -> Sequence[Currency]:
    """List the currencies by their code."""
    return await service.list(limit=paging.limit, offset=paging.offset)


@router.get("/{alpha_3}", response_model=CurrencyRead)
async def read_currency(alpha_3: CurrencyCode, service: CurrencyServiceDep) -> Currency:
    """Read one currency."""
    return await service.get(alpha_3)
