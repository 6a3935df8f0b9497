"""The seeder: rows that an application ships, and how they are told from one another."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sqlalchemy.orm import QueryableAttribute

from layered_backend.field_values import Data
from layered_backend.seeding.sources import FileRows

if TYPE_CHECKING:
    from layered_backend.seeding.context import SeedContext

__all__ = ["Rows", "Seeder"]

ModelT = TypeVar("ModelT")

Rows = Iterable[Data] | AsyncIterable[Data] | Awaitable[Iterable[Data]]
"""What `rows()` may return: mappings by attribute name, or Pydantic models; a generator, a list, or an awaited one."""


class Seeder(Generic[ModelT]):
    """Rows of one mapped class that the application ships. Lives as long as one run.

    The rows are reconciled by their natural key: what is missing is inserted, what differs is updated, what is equal is
    not touched, and rows that the seeder does not ship are left alone.

        class ItemSeeder(Seeder[Item]):
            key = (Item.name,)
            depends_on = (CategorySeeder,)
            insert_only = (Item.price,)

            def rows(self):
                yield {"name": "tea", "price": 3, "category_id": ref(CategorySeeder, "drinks")}
    """

    name: ClassVar[str]
    """What the seeder is called in a run and its report: the name of the class, unless the class sets another."""

    key: ClassVar[tuple[QueryableAttribute[Any], ...]] = ()
    """The natural key: the attributes that tell the rows apart. NULL in it equals NULL."""

    depends_on: ClassVar[tuple[type[Seeder[Any]], ...]] = ()
    """The seeders that come first: those whose rows `ref` names, and any other."""

    insert_only: ClassVar[tuple[QueryableAttribute[Any], ...]] = ()
    """The attributes that are set when a row is inserted, and never after: an operator's edit survives."""

    retired: ClassVar[tuple[Any, ...]] = ()
    """The natural keys of rows that were shipped once; they are deleted where they are still there. A value for a key of
    one attribute, a tuple for one of several."""

    environments: ClassVar[tuple[str, ...]] = ()
    """Where the seeder runs; everywhere if empty."""

    tags: ClassVar[tuple[str, ...]] = ()
    """Labels to choose seeders by."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def rows(self) -> Rows:
        """Return the rows, or yield them; values are what the model's attributes hold, or text that reads as it.

        A row that leaves out an attribute leaves it as it is, or to its default when the row is new.
        """
        raise NotImplementedError(
            f"{self.name} has no rows(); write `def rows(self):`, or `async def run(self, context):`"
        )

    async def run(self, context: SeedContext) -> None:
        """Seed. Override it for what rows cannot say; it must change nothing when it is run again."""
        await context.reconcile(self.rows())

    def from_file(self, path: str | Path) -> Iterable[Mapping[str, Any]]:
        """Return the rows of a file, read when they are asked for.

        Args:
            path: Of a file whose name ends in .json (an array of objects), .jsonl or .ndjson (an object a line), .csv (with
                a header) or .yaml or .yml (a list of mappings). A relative one begins at the seeder's own module.

        Raises:
            SeedDataError: The ending is none of these. While the rows are read: the file cannot be read, or is not
                what its ending says.
        """
        module_file = getattr(sys.modules[type(self).__module__], "__file__", None)
        return FileRows(Path(module_file or ".").parent / path if module_file else Path(path))
