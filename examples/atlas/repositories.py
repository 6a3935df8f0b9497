"""The repository layer: the queries that have a name in the domain."""

from collections.abc import Sequence

from sqlalchemy import literal, select
from sqlalchemy.orm import selectinload

from examples.atlas.models import Country, Currency, Language, Subdivision
from layered_backend import BaseRepository

_DEEPEST = 10  # levels; no country has more than three


class CountryRepository(BaseRepository[Country]):
    """The countries."""


class SubdivisionRepository(BaseRepository[Subdivision]):
    """The subdivisions of all countries."""

    async def with_surroundings(self, code: str) -> Subdivision:
        """Return the subdivision with its country and its parent, which nothing loads later: that would be I/O."""
        return await self.get(code, options=[selectinload(Subdivision.country), selectinload(Subdivision.parent)])

    async def of_country(self, alpha_2: str, *, limit: int, offset: int) -> Sequence[Subdivision]:
        """Return the subdivisions of a country, on all levels."""
        return await self.list(Subdivision.country_code == alpha_2, limit=limit, offset=offset)

    async def children_of(self, code: str, *, limit: int, offset: int) -> Sequence[Subdivision]:
        """Return the subdivisions one level below."""
        return await self.list(Subdivision.parent_code == code, limit=limit, offset=offset)

    async def ancestors_of(self, code: str) -> Sequence[Subdivision]:
        """Return the subdivisions that this one lies in, its parent first."""
        above = (
            select(Subdivision.parent_code.label("code"), literal(1).label("distance"))
            .where(Subdivision.code == code)
            .cte("above", recursive=True)
        )
        above = above.union_all(
            select(Subdivision.parent_code, above.c.distance + 1)
            .join(above, Subdivision.code == above.c.code)
            .where(above.c.distance < _DEEPEST)
        )
        statement = self.select().join(above, Subdivision.code == above.c.code).order_by(above.c.distance)
        return (await self.session.scalars(statement)).all()


class CurrencyRepository(BaseRepository[Currency]):
    """The currencies."""


class LanguageRepository(BaseRepository[Language]):
    """The languages."""

    async def named(self, text: str, *, limit: int, offset: int) -> Sequence[Language]:
        """Return the languages whose name contains *text*, in upper or lower case."""
        contains = Language.name.icontains(text, autoescape=True)
        return await self.list(contains, order_by=(Language.name, Language.alpha_3), limit=limit, offset=offset)
