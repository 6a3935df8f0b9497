"""The ISO standards, read from pycountry into the schemas of the atlas: all that knows the package."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import pycountry
from pydantic import BaseModel

from examples.atlas.schemas import CountryCreate, CurrencyCreate, LanguageCreate, SubdivisionCreate

SchemaT = TypeVar("SchemaT", bound=BaseModel)


def countries() -> Sequence[CountryCreate]:
    """Return the countries of ISO 3166-1."""
    return _read(CountryCreate, pycountry.countries)


def subdivisions() -> Sequence[SubdivisionCreate]:
    """Return the subdivisions of ISO 3166-2."""
    return _read(SubdivisionCreate, pycountry.subdivisions)


def currencies() -> Sequence[CurrencyCreate]:
    """Return the currencies of ISO 4217."""
    return _read(CurrencyCreate, pycountry.currencies)


def languages() -> Sequence[LanguageCreate]:
    """Return the languages of ISO 639-3."""
    return _read(LanguageCreate, pycountry.languages)


def _read(schema: type[SchemaT], records: Iterable[object]) -> Sequence[SchemaT]:
    return [schema.model_validate(record, from_attributes=True) for record in records]
