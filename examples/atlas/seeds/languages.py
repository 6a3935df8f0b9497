"""The languages of ISO 639-3."""

from collections.abc import Sequence

from examples.atlas import iso
from examples.atlas.models import Language
from examples.atlas.schemas import LanguageCreate
from layered_backend import Seeder


class LanguageSeeder(Seeder[Language]):
    """The languages, which nobody can change: they are as the standard says."""

    name = "languages"
    key = (Language.alpha_3,)

    def rows(self) -> Sequence[LanguageCreate]:
        return iso.languages()
