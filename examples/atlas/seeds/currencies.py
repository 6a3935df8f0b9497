"""The currencies of ISO 4217."""

from collections.abc import Sequence

from examples.atlas import iso
from examples.atlas.models import Currency
from examples.atlas.schemas import CurrencyCreate
from layered_backend import Seeder


class CurrencySeeder(Seeder[Currency]):
    """The currencies, which nobody can change: they are as the standard says."""

    name = "currencies"
    key = (Currency.alpha_3,)

    def rows(self) -> Sequence[CurrencyCreate]:
        return iso.currencies()
