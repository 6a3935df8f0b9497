"""What a list can be asked for: a query model for each route, of filters, a sort and a page.

A parameter that a model does not have is refused, and so is a sort by another key; the API's document shows both.
"""

from typing import Annotated

from examples.atlas.models import Country, Language, Subdivision
from examples.atlas.schemas import CountryCode, LanguageType, SubdivisionCode
from layered_backend import CursorParams, FilterSet, PageParams, Sorting, Where


class CountryFilter(FilterSet):
    """The countries whose name contains a text."""

    name: Annotated[str | None, Where(Country.name.icontains)] = None


class CountrySorting(Sorting):
    """Countries by their code, or as the client says."""

    keys = {"alpha_2": Country.alpha_2, "name": Country.name}
    default = "alpha_2"


class CountryQuery(CountryFilter, CountrySorting, PageParams):
    """The parameters of the list of countries."""


class SubdivisionFilter(FilterSet):
    """The subdivisions of a country, of some types, below another one, whose name contains a text."""

    country: Annotated[CountryCode | None, Where(lambda code: Subdivision.country_code == code)] = None
    parent: Annotated[SubdivisionCode | None, Where(lambda code: Subdivision.parent_code == code)] = None
    type: Annotated[list[str] | None, Where(Subdivision.type.in_)] = None
    name: Annotated[str | None, Where(Subdivision.name.icontains)] = None


class SubdivisionSorting(Sorting):
    """Subdivisions by their code, or as the client says."""

    keys = {"code": Subdivision.code, "name": Subdivision.name, "type": Subdivision.type}
    default = "code"


class SubdivisionQuery(SubdivisionFilter, SubdivisionSorting, PageParams):
    """The parameters of the list of subdivisions."""


class LanguageFilter(FilterSet):
    """The languages whose name contains a text, of some types."""

    name: Annotated[str | None, Where(Language.name.icontains)] = None
    type: Annotated[list[LanguageType] | None, Where(Language.type.in_)] = None


class LanguageQuery(LanguageFilter, CursorParams):
    """The parameters of the list of languages, which is long: its pages are found by a cursor."""
