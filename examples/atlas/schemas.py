"""What comes in and goes out.

The pattern of a code leaves one way to write it: databases disagree on whether "gb" equals "GB".
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, computed_field

CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
SubdivisionCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
LanguageScope = Literal["I", "M", "S"]  # individual, macrolanguage, special
LanguageType = Literal["A", "C", "E", "H", "L", "S"]  # ancient, constructed, extinct, historical, living, special
Numeric = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]

_REGIONAL_INDICATOR_A = 0x1F1E6  # Unicode's flags are the two letters of the country in this alphabet


class _Input(BaseModel):
    """What a client sends: a field that does not exist is an error, not a typing mistake that goes unnoticed."""

    model_config = ConfigDict(extra="forbid")


class CountryCreate(_Input):
    """A country to add."""

    alpha_2: CountryCode
    alpha_3: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    numeric: Numeric
    name: Name
    official_name: Name | None = None


class CountryUpdate(_Input):
    """The fields of a country to change."""

    name: Name | None = None
    official_name: Name | None = None


class CountryRead(BaseModel):
    """A country."""

    alpha_2: str
    alpha_3: str
    numeric: str
    name: str
    official_name: str | None
    created_at: datetime
    updated_at: datetime

    @computed_field  # type: ignore[prop-decorator]  # mypy refuses decorated properties (python/mypy#1362)
    @property
    def flag(self) -> str:
        """The flag, as an emoji."""
        return "".join(chr(_REGIONAL_INDICATOR_A + ord(letter) - ord("A")) for letter in self.alpha_2)


class SubdivisionCreate(_Input):
    """A subdivision to add."""

    code: SubdivisionCode
    country_code: CountryCode
    parent_code: SubdivisionCode | None = None
    name: Name
    type: Name


class SubdivisionUpdate(_Input):
    """The fields of a subdivision to change."""

    parent_code: SubdivisionCode | None = None
    name: Name | None = None
    type: Name | None = None


class SubdivisionRead(BaseModel):
    """A subdivision, as lists show it."""

    code: str
    country_code: str
    parent_code: str | None
    name: str
    type: str


class SubdivisionDetail(SubdivisionRead):
    """A subdivision with what surrounds it."""

    parent: SubdivisionRead | None
    country: CountryRead
    created_at: datetime
    updated_at: datetime


class CurrencyCreate(_Input):
    """A currency to add."""

    alpha_3: CurrencyCode
    numeric: Numeric
    name: Name


class CurrencyRead(BaseModel):
    """A currency."""

    alpha_3: str
    numeric: str
    name: str


class LanguageCreate(_Input):
    """A language to add."""

    alpha_3: LanguageCode
    alpha_2: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] | None = None
    name: Name
    scope: LanguageScope
    type: LanguageType


class LanguageRead(BaseModel):
    """A language."""

    alpha_3: str
    alpha_2: str | None
    name: str
    scope: str
    type: str
