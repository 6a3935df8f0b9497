"""The countries of ISO 3166-1."""

from collections.abc import Sequence

from examples.atlas import iso
from examples.atlas.models import Country
from examples.atlas.schemas import CountryCreate
from layered_backend import Seeder


class CountrySeeder(Seeder[Country]):
    """The countries, with the names that they have before somebody changes them."""

    name = "countries"
    key = (Country.alpha_2,)
    insert_only = (Country.name, Country.official_name)

    def rows(self) -> Sequence[CountryCreate]:
        return iso.countries()
