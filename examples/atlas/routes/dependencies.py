"""What the routes depend on: services where there are rules to keep, projections where rows are only read."""

from typing import Annotated

from fastapi import Depends

from examples.atlas.models import Country, Subdivision
from examples.atlas.repositories import (
    CountryRepository,
    CurrencyRepository,
    LanguageRepository,
    SubdivisionRepository,
)
from examples.atlas.schemas import CurrencyRead, LanguageRead, SubdivisionDetail, SubdivisionRead
from examples.atlas.services import CountryService, SubdivisionService
from layered_backend import Projection, get_projection, get_service

get_country_service = get_service(CountryService, CountryRepository, Country)
get_subdivision_service = get_service(SubdivisionService, SubdivisionRepository, Subdivision)

get_subdivisions = get_projection(SubdivisionRepository, SubdivisionRead)
get_subdivision_details = get_projection(SubdivisionRepository, SubdivisionDetail)
get_currencies = get_projection(CurrencyRepository, CurrencyRead)
get_languages = get_projection(LanguageRepository, LanguageRead)

CountryServiceDep = Annotated[CountryService, Depends(get_country_service)]
SubdivisionServiceDep = Annotated[SubdivisionService, Depends(get_subdivision_service)]

SubdivisionsDep = Annotated[Projection[SubdivisionRead], Depends(get_subdivisions)]
SubdivisionDetailsDep = Annotated[Projection[SubdivisionDetail], Depends(get_subdivision_details)]
CurrenciesDep = Annotated[Projection[CurrencyRead], Depends(get_currencies)]
LanguagesDep = Annotated[Projection[LanguageRead], Depends(get_languages)]
