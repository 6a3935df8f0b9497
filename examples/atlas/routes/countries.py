"""Countries over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from examples.atlas.models import Country, Subdivision
from examples.atlas.queries import CountryQuery
from examples.atlas.routes.dependencies import CountryServiceDep, SubdivisionServiceDep
from examples.atlas.schemas import CountryCode, CountryCreate, CountryRead, CountryUpdate, SubdivisionRead
from layered_backend import Page, PageParams

router = APIRouter(prefix="/countries", tags=["countries"])


@router.get("", response_model=Page[CountryRead])
async def list_countries(query: Annotated[CountryQuery, Query()], service: CountryServiceDep) -> Page[Country]:
    """List the countries."""
    return await service.page(query)


@router.post("", response_model=CountryRead, status_code=status.HTTP_201_CREATED)
async def create_country(data: CountryCreate, service: CountryServiceDep) -> Country:
    """Add a country."""
    return await service.create(data)


@router.get("/{alpha_2}", response_model=CountryRead)
async def read_country(alpha_2: CountryCode, service: CountryServiceDep) -> Country:
    """Read one country."""
    return await service.get(alpha_2)


@router.patch("/{alpha_2}", response_model=CountryRead)
async def update_country(alpha_2: CountryCode, data: CountryUpdate, service: CountryServiceDep) -> Country:
    """Change some fields of a country: one that is left out stays as it is, a null is written."""
    return await service.update(alpha_2, data)


@router.delete("/{alpha_2}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_country(alpha_2: CountryCode, service: CountryServiceDep) -> None:
    """Delete a country that has no subdivisions."""
    await service.delete(alpha_2)


@router.get("/{alpha_2}/subdivisions", response_model=Page[SubdivisionRead])
async def list_subdivisions_of_country(
    alpha_2: CountryCode, query: Annotated[PageParams, Query()], service: SubdivisionServiceDep
) -> Page[Subdivision]:
    """List the subdivisions of a country, on all levels, by their code."""
    return await service.of_country(alpha_2, query)
