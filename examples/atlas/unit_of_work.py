"""The unit of work: one transaction over all repositories of the atlas."""

from examples.atlas.repositories import (
    CountryRepository,
    CurrencyRepository,
    LanguageRepository,
    SubdivisionRepository,
)
from layered_backend import UnitOfWork


class AtlasUnitOfWork(UnitOfWork):
    """A unit of work of the atlas. It names no database: `install` gives it one."""

    countries: CountryRepository
    subdivisions: SubdivisionRepository
    currencies: CurrencyRepository
    languages: LanguageRepository
