"""The repository layer: the queries that have a name in the domain."""

from collections.abc import Sequence

from sqlalchemy import literal, select

from examples.atlas.models import Country, Currency, Language, Subdivision
from layered_backend import BaseRepository

_DEEPEST = 10  # levels; no country has more than three


class CountryRepository(BaseRepository[Country]):
    """The countries."""


class SubdivisionRepository(BaseRepository[Subdivision]):
    """The subdivisions of all countries."""

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
