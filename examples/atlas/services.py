"""The service layer: the operations on the atlas, and its rules."""

from collections.abc import Sequence
from typing import Any

from examples.atlas.models import Country, Subdivision
from examples.atlas.repositories import CountryRepository, SubdivisionRepository
from examples.atlas.schemas import CountryCreate, CountryUpdate, SubdivisionCreate, SubdivisionUpdate
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import BaseService, ConflictError, InvalidDataError, Page, PageParams


class CountryService(BaseService[Country, CountryRepository, CountryCreate, CountryUpdate]):
    """What can be done with countries."""


class SubdivisionService(
    BaseService[Subdivision, SubdivisionRepository, SubdivisionCreate, SubdivisionUpdate, AtlasUnitOfWork]
):
    """What can be done with subdivisions.

    A code begins with that of its country, and a subdivision lies in another one of the same country, never in itself.
    """

    async def create(self, data: SubdivisionCreate, **options: Any) -> Subdivision:
        """Write a new subdivision and return it.

        Raises:
            InvalidDataError: The code, or that of the parent, is not of the country.
            ConflictError: The code is taken, or there is no such country or parent.
        """
        if _country_of(data.code) != data.country_code:
            raise InvalidDataError(f"the code {data.code} does not begin with {data.country_code}-")
        if data.parent_code is not None:
            _check_same_country(data.code, data.parent_code)
        return await super().create(data, **options)

    async def update(self, key: str, data: SubdivisionUpdate, **options: Any) -> Subdivision:
        """Change the fields that *data* sets, and return the subdivision.

        Raises:
            NotFoundError: There is no such subdivision.
            InvalidDataError: The parent is of another country, or a field that needs a value got null.
            ConflictError: The parent does not exist, or lies in the subdivision.
        """
        if data.parent_code is not None:
            _check_same_country(key, data.parent_code)
            await self._check_outside(key, data.parent_code)
        return await super().update(key, data, **options)

    async def of_country(self, alpha_2: str, params: PageParams) -> Page[Subdivision]:
        """Return the subdivisions of a country, on all levels, page by page.

        Raises:
            NotFoundError: There is no such country.
        """
        await self.uow.countries.get(alpha_2)
        return await self.page(params, Subdivision.country_code == alpha_2)

    async def children_of(self, code: str, params: PageParams) -> Page[Subdivision]:
        """Return the subdivisions one level below, page by page.

        Raises:
            NotFoundError: There is no such subdivision.
        """
        await self.get(code)
        return await self.page(params, Subdivision.parent_code == code)

    async def ancestors_of(self, code: str) -> Sequence[Subdivision]:
        """Return the subdivisions that this one lies in, its parent first.

        Raises:
            NotFoundError: There is no such subdivision.
        """
        await self.get(code)
        return await self.repository.ancestors_of(code)

    async def _check_outside(self, code: str, parent_code: str) -> None:
        ancestors = await self.repository.ancestors_of(parent_code)
        if code in {ancestor.code for ancestor in ancestors}:
            raise ConflictError(f"{parent_code} lies in {code} and cannot be its parent")


def _country_of(code: str) -> str:
    return code.partition("-")[0]


def _check_same_country(code: str, parent_code: str) -> None:
    if _country_of(parent_code) != _country_of(code):
        raise InvalidDataError(f"the parent {parent_code} is not of the same country as {code}")
    if parent_code == code:
        raise InvalidDataError(f"{code} cannot be its own parent")
