"""The subdivisions of ISO 3166-2: a tree in each country."""

from collections.abc import Mapping, Sequence
from typing import Any

from examples.atlas import iso
from examples.atlas.models import Subdivision
from examples.atlas.schemas import SubdivisionCreate
from examples.atlas.seeds.countries import CountrySeeder
from layered_backend import Seeder, ref


class SubdivisionSeeder(Seeder[Subdivision]):
    """The subdivisions, in any order: a row is written after those that it refers to."""

    name = "subdivisions"
    key = (Subdivision.code,)
    depends_on = (CountrySeeder,)
    insert_only = (Subdivision.parent_code, Subdivision.name, Subdivision.type)

    def rows(self) -> Sequence[Mapping[str, Any]]:
        return [_with_references(subdivision) for subdivision in iso.subdivisions()]


def _with_references(subdivision: SubdivisionCreate) -> Mapping[str, Any]:
    country = ref(CountrySeeder, subdivision.country_code)
    parent = ref(SubdivisionSeeder, subdivision.parent_code) if subdivision.parent_code else None
    return subdivision.model_dump() | {"country_code": country, "parent_code": parent}
