"""What the routes depend on."""

from typing import Annotated

from fastapi import Depends, Query

from examples.atlas.models import Country, Currency, Language, Subdivision
from examples.atlas.repositories import (
    CountryRepository,
    CurrencyRepository,
    LanguageRepository,
    SubdivisionRepository,
)
from examples.atlas.schemas import Paging
from examples.atlas.services import CountryService, CurrencyService, LanguageService, SubdivisionService
from layered_backend import get_service

get_country_service = get_service(CountryService, CountryRepository, Country)
get_subdivision_service = get_service(SubdivisionService, SubdivisionRepository, Subdivision)
get_currency_service = get_service(CurrencyService, CurrencyRepository, Currency)
get_language_service = get_service(LanguageService, LanguageRepository, Language)

CountryServiceDep = Annotated[CountryService, Depends(get_country_service)]
SubdivisionServiceDep = Annotated[SubdivisionService, Depends(get_subdivision_service)]
CurrencyServiceDep = Annotated[CurrencyService, Depends(get_currency_service)]
LanguageServiceDep = Annotated[LanguageService, Depends(get_language_service)]
PagingQuery = Annotated[Paging, Query()]
