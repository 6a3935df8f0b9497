"""The tables of all seeders of a run, and the rows in them that references name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from layered_backend.errors import SeedReferenceError
from layered_backend.query.unique_keys import tables_among
from layered_backend.seeding.field import BadValueError, Field
from layered_backend.seeding.plan import Plan
from layered_backend.seeding.seed_table import SeedTable, names_by_column
from layered_backend.seeding.seeder import Definition, Ref, Seeder, definition_of, has_own_run
from layered_backend.session import GuardedSession

__all__ = ["UNKNOWN", "Resolver", "SeedTables"]

SeederClass = type[Seeder[Any]]
Values = tuple[Any, ...]

UNKNOWN: Any = object()
"""The value of a reference to a row that has not been met yet."""


class SeedTables:
    """The tables of the seeders, each made when it is first asked for. Lives as long as the run's transaction.

    Args:
        plan: Of the run, which tells who may refer to whom.
        session: Where to work.
    """

    def __init__(self, plan: Plan, session: GuardedSession) -> None:
        self._plan = plan
        self._session = session
        self._tables: dict[type[Seeder[Any]], SeedTable] = {}

    def of(self, seeder: type[Seeder[Any]]) -> SeedTable:
        """Return the table of *seeder*.

        Raises:
            SeedReferenceError: It has no mapped class, or no key.
        """
        if seeder not in self._tables:
            definition = definition_of(seeder)
            if definition is None or not definition.key:
                raise SeedReferenceError(f"{seeder.name} has no key to find rows by; give it one, and its mapped class")
            self._tables[seeder] = SeedTable(definition, self._referable(definition), self._session)
        return self._tables[seeder]

    def written_by(self, seeder: type[Seeder[Any]]) -> Collection[Table]:
        """Return the tables that *seeder* may have written, and those with foreign keys to them.

        Its own `run` may have written any that the run is about.
        """
        candidates = self._plan.order if has_own_run(seeder) else (seeder,)
        keyed = [each for each in candidates if (definition := definition_of(each)) and definition.key]
        return {table for each in keyed for table in self.of(each).tables}

    def is_referred_to(self, seeder: type[Seeder[Any]]) -> bool:
        """Tell whether other seeders, or the seeder's own rows, may refer to its rows."""
        return bool(self.of(seeder).own_references) or bool(self._plan.dependents_of(seeder))

    def _referable(self, definition: Definition) -> list[str]:
        """Return the attributes that the seeder's own rows, and those of the seeders that depend on it, refer to."""
        mapper = definition.mapper
        others = filter(None, map(definition_of, self._plan.dependents_of(definition.seeder)))
        tables = [table for each in (definition, *others) for table in each.mapper.tables]
        keys = [key for table in tables_among(tables) for key in table.foreign_keys]
        names = names_by_column(mapper)
        return [*dict.fromkeys(names[key.column] for key in keys if key.column in names)]


class Resolver:
    """The rows that can be referred to, as far as they are known. Lives as long as the run's transaction.

    Args:
        tables: The tables of the seeders that take part, and of those that they refer to.
    """

    def __init__(self, tables: SeedTables) -> None:
        self._tables = tables
        self._rows: dict[SeederClass, dict[Values, Values]] = {}

    def rows_of(self, seeder: SeederClass) -> dict[Values, Values]:
        """Return the known rows of *seeder*, to be extended: the values of `referable` by natural key."""
        return self._rows.setdefault(seeder, {})

    def keeps(self, seeder: SeederClass) -> bool:
        """Tell whether the rows of *seeder* are likely to be referred to, and so to be left here when they are read."""
        return self._tables.is_referred_to(seeder)

    def normal(self, reference: Ref) -> Ref:
        """Return *reference* with its key as the columns hold it, so that two to the same row are equal.

        Raises:
            SeedReferenceError: The key does not fit its seeder.
        """
        table = self._tables.of(reference.seeder)
        self._check_length(reference, table.key)
        parts = zip(table.key, reference.key, strict=True)
        key = (self.normal(p) if isinstance(p, Ref) else _converted(table.fields[n], p) for n, p in parts)
        return Ref(reference.seeder, tuple(key))

    def value(self, field: Field, reference: Ref) -> Any:
        """Return what *field* is to hold for *reference*; `UNKNOWN` while the row is not known.

        Raises:
            SeedReferenceError: The reference does not fit the field, or the key of its seeder.
        """
        row = self.row(reference)
        return UNKNOWN if row is None else row[self._position(field, reference.seeder)]

    async def look_up(self, references: Collection[Ref]) -> None:
        """Look in the database for rows that are not known; those that are not there stay so."""
        by_seeder: dict[SeederClass, set[Values]] = {}
        for reference in references:
            key = self._key(reference)
            if key is not UNKNOWN:
                by_seeder.setdefault(reference.seeder, set()).add(key)
        for seeder, keys in by_seeder.items():
            table = self._tables.of(seeder)
            width = len(table.key)
            self.rows_of(seeder).update((row[:width], row[width:]) for row in await table.read(table.key, keys))

    def row(self, reference: Ref) -> Values | None:
        """Return the values of `referable` of the row that *reference* names; None while it is not known."""
        rows = self.rows_of(reference.seeder)
        row = rows.get(reference.key)
        if row is None:
            key = self._key(reference)
            row = None if key is UNKNOWN else rows.get(key)
            if row is not None:
                rows[reference.key] = row  # as it is written, to be found at once the next time
        return row

    def row_of(self, target: Mapper[Any], reference: Ref) -> Values | None:
        """Return what `row` does for a reference to a row of the class of *target*.

        Raises:
            SeedReferenceError: The seeder has rows of another class, or another key.
        """
        mapper = self._tables.of(reference.seeder).mapper
        if not (mapper.isa(target) or target.isa(mapper)):
            raise SeedReferenceError(f"{reference!r} is no {target.class_.__name__}")
        return self.row(reference)

    def identity(self, seeder: SeederClass, row: Values) -> Values:
        """Return the primary key in *row*, the values of `referable` of a row of *seeder*."""
        return row[: len(self._tables.of(seeder).identity)]

    def named(self, target: Mapper[Any], seeder: SeederClass, identities: Collection[Values]) -> list[Any]:
        """Return what tells a reader which rows *identities* are of: references where known, else the primary keys.

        Args:
            target: The mapper of the rows.
            seeder: The seeder whose rows they are associated with.
            identities: The primary keys of the rows.
        """
        names: dict[Values, Ref] = {}
        for each in (seeder, *seeder.depends_on):
            definition = definition_of(each)
            if definition is not None and definition.mapper.isa(target):
                names |= {self.identity(each, row): Ref(each, key) for key, row in self.rows_of(each).items()}
        return sorted((names.get(each, each[0] if len(each) == 1 else each) for each in identities), key=repr)

    def _key(self, reference: Ref) -> Any:
        """Return the natural key that *reference* names, as the database holds it; `UNKNOWN` where it depends on others."""
        table = self._tables.of(reference.seeder)
        self._check_length(reference, table.key)
        parts = [self._part(table.fields[name], part) for name, part in zip(table.key, reference.key, strict=True)]
        return UNKNOWN if any(part is UNKNOWN for part in parts) else tuple(parts)

    def _part(self, field: Field, part: object) -> object:
        return self.value(field, part) if isinstance(part, Ref) else _converted(field, part)

    def _check_length(self, reference: Ref, key: tuple[str, ...]) -> None:
        if len(reference.key) != len(key):
            raise SeedReferenceError(f"{reference!r} should give {' and '.join(key)}, the key of that seeder")

    def _position(self, field: Field, seeder: SeederClass) -> int:
        table = self._tables.of(seeder)
        target = table.referred_by(field)
        if target is None:
            raise SeedReferenceError(
                f"it has no foreign key to the table of {seeder.name}, whose primary key is of several columns",
                column=field.name,
            )
        return table.referable.index(target)


def _converted(field: Field, part: object) -> object:
    try:
        return field.converted_key((part,))[0]
    except BadValueError as error:
        raise SeedReferenceError(f"{field.name} of the row that is referred to: {error}") from error
