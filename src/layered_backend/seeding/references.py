"""References from the rows of a seeder to those of another, or of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layered_backend.seeding.seeder import Seeder

__all__ = ["NewRow", "Ref", "ref"]


@dataclass(frozen=True, slots=True)
class Ref:
    """The row of a seeder that has a natural key; the row's value is found when it is known.

    Attributes:
        seeder: Whose row it is.
        key: Its natural key, whose parts may be references themselves.
    """

    seeder: type[Seeder[Any]]
    key: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"ref({', '.join((self.seeder.__name__, *map(repr, self.key)))})"


@dataclass(frozen=True, slots=True)
class NewRow:
    """Stands, in a dry run, for the key of a row that would be inserted."""

    ref: Ref

    def __repr__(self) -> str:
        return repr(self.ref)


def ref(seeder: type[Seeder[Any]], *key: Any) -> Any:
    """Return what stands for a row in the foreign keys of another.

        yield {"name": "tea", "category_id": ref(CategorySeeder, "drinks")}

    It becomes the value of the column that the foreign key refers to, or of the primary key where the column has none.

    Args:
        seeder: The seeder of the row, in its own `rows()` too; it is among `depends_on`, unless it is the same one.
        key: The row's natural key, a value for each column of the seeder's `key`.

    Raises:
        TypeError: A part of the key cannot be the key of a dictionary.
    """
    hash(key)
    return Ref(seeder, key)
