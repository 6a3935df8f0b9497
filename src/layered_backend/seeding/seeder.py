"""The seeder: rows that an application ships, references between them, and the definition that is checked before a run."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper, QueryableAttribute

from layered_backend.errors import SeedPlanError
from layered_backend.field_values import Data
from layered_backend.memoization import memoized
from layered_backend.repository import BaseRepository
from layered_backend.seeding.associations import associations_of
from layered_backend.seeding.files import FileRows
from layered_backend.session import GuardedSession
from layered_backend.type_arguments import type_arguments

__all__ = [
    "Definition",
    "NewRow",
    "Ref",
    "Rows",
    "SeedContext",
    "Seeder",
    "definition_of",
    "has_own_run",
    "is_complete",
    "ref",
]

ModelT = TypeVar("ModelT")
RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])

Rows = Iterable[Data] | AsyncIterable[Data] | Awaitable[Iterable[Data]]
"""The result of `rows()`: mappings by attribute name, or Pydantic models; a generator, a list, or an awaitable of one."""


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
    """The name of the seeder in a run and its report: the name of the class, unless the class sets another."""

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
    """The environments in which the seeder runs; all of them if empty."""

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


class SeedContext(ABC):
    """The transaction of a run, as one seeder sees it. Lives as long as the seeder runs.

    Attributes:
        environment: The environment of the run, such as "production".
        is_dry_run: Whether the run writes nothing; the database then refuses every write.
    """

    environment: str
    is_dry_run: bool

    @property
    @abstractmethod
    def session(self) -> GuardedSession:
        """The session, for work that rows cannot express."""

    @abstractmethod
    def repository(self, repository_class: type[RepositoryT]) -> RepositoryT:
        """Return the repository of that class which works in this transaction."""

    @abstractmethod
    async def reconcile(self, rows: Rows) -> None:
        """Insert, update or leave alone each of *rows*, as `Seeder.rows` returns them.

        Raises:
            SeedDataError: A row cannot be seeded.
            SeedPlanError: The seeder has no key.
        """

    @abstractmethod
    async def find(self, reference: Ref) -> Any:
        """Return the primary key of the row that `ref(...)` names, as foreign keys hold it; a tuple if it is composite.

        Raises:
            SeedReferenceError: The row is neither shipped nor stored.
        """

    @abstractmethod
    def count(self, *, inserted: int = 0, updated: int = 0, unchanged: int = 0, deleted: int = 0) -> None:
        """Count rows that were written without `reconcile`, for the report."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to the row of a seeder with a natural key; it becomes the value of a foreign key.

    Attributes:
        seeder: The seeder of the row.
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


def ref(seeder: type[Seeder[Any]], *key: object) -> Any:
    """Return a reference to a row, for the foreign keys of another.

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


@dataclass(frozen=True, slots=True)
class Definition:
    """The mapped class of a seeder, and the names of the attributes that it declares.

    Attributes:
        seeder: The class of the seeder.
        mapper: The mapper of the mapped class.
        key: The names of the natural key.
        insert_only: The names of the attributes that are set only once.
        associations: The names of the relationships that rows may set with a list of references.
    """

    seeder: type[Seeder[Any]]
    mapper: Mapper[Any]
    key: tuple[str, ...]
    insert_only: frozenset[str]
    associations: frozenset[str]


def is_complete(seeder: type[Seeder[Any]]) -> bool:
    """Tell whether a class can run, unlike one that others are derived from."""
    return _overrides(seeder, "rows") or has_own_run(seeder)


def has_own_run(seeder: type[Seeder[Any]]) -> bool:
    """Tell whether a class may do more than reconcile its rows."""
    return _overrides(seeder, "run")


def _overrides(seeder: type[Seeder[Any]], method: str) -> bool:
    return getattr(seeder, method) is not getattr(Seeder, method)


@memoized
def definition_of(seeder: type[Seeder[Any]]) -> Definition | None:
    """Return the definition of *seeder*; None if it has no mapped class and does everything in its own `run`.

    Raises:
        SeedPlanError: The declaration is not complete, or contradicts the mapped class.
    """
    if not is_complete(seeder):
        raise SeedPlanError(f"{seeder.name} seeds nothing; write `def rows(self):`, or `async def run(self, context):`")
    mapper = _mapper_of(seeder)
    if mapper is None:
        return None
    key = _names(seeder, mapper, "key")
    if not key and not has_own_run(seeder):
        name = mapper.class_.__name__
        raise SeedPlanError(f"{seeder.name} has no key; write what tells its rows apart, such as key = ({name}.name,)")
    insert_only = frozenset(_names(seeder, mapper, "insert_only")) - set(key)
    return Definition(seeder, mapper, key, insert_only, frozenset(associations_of(mapper)))


def _mapper_of(seeder: type[Seeder[Any]]) -> Mapper[Any] | None:
    model = next(iter(type_arguments(seeder, Seeder)), None)
    try:
        return cast("Mapper[Any]", inspect(model))
    except NoInspectionAvailable:
        if has_own_run(seeder):
            return None
        raise SeedPlanError(
            f"{seeder.name} does not know its model; write class {seeder.__name__}(Seeder[Item])"
        ) from None


def _names(seeder: type[Seeder[Any]], mapper: Mapper[Any], declaration: str) -> tuple[str, ...]:
    attributes: object = getattr(seeder, declaration)
    if not isinstance(attributes, tuple):
        raise SeedPlanError(f"{seeder.name}.{declaration} is a tuple of attributes; write {declaration} = (Item.name,)")
    return tuple(_name(seeder, mapper, declaration, attribute) for attribute in cast("tuple[object, ...]", attributes))


def _name(seeder: type[Seeder[Any]], mapper: Mapper[Any], declaration: str, attribute: object) -> str:
    if isinstance(attribute, QueryableAttribute):
        owner: Any = attribute.class_
        is_association = declaration == "insert_only" and attribute.key in associations_of(mapper)
        if issubclass(mapper.class_, owner) and (attribute.key in mapper.column_attrs or is_association):
            return attribute.key
    model = mapper.class_.__name__
    raise SeedPlanError(f"{seeder.name}.{declaration} has {attribute!s}, which is not a column attribute of {model}")
