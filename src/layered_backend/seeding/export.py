"""The export of a seeder's table: the stored rows as a seed file has them, with references in place of foreign keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column
from sqlalchemy.orm import RelationshipProperty

from layered_backend.errors import SeedDataError, SeedPlanError
from layered_backend.seeding.field import BadValueError, Field
from layered_backend.seeding.plan import PRODUCTION, Plan
from layered_backend.seeding.references import SeedTables
from layered_backend.seeding.seed_table import BATCH_SIZE, names_by_column
from layered_backend.seeding.seeder import Seeder, definition_of
from layered_backend.session import GuardedSession
from layered_backend.stamps import READS

__all__ = ["Export"]

SeederClass = type[Seeder[Any]]
Values = tuple[Any, ...]
Row = dict[str, Any]


class _Target(NamedTuple):
    """The row that a value refers to."""

    seeder: SeederClass
    attribute: str
    value: Any


class Export:
    """The stored rows of one seeder's mapped class, as a seed file has them. Lives as long as its transaction.

    Args:
        seeder: The seeder, whose key tells the rows apart.
        seeders: All of the runner's.
        session: Where to read.
        without: The names of attributes to leave out.

    Raises:
        SeedPlanError: The seeder has no key, or *without* names a part of it, or no attribute.
    """

    def __init__(
        self, seeder: SeederClass, seeders: Sequence[SeederClass], session: GuardedSession, without: Iterable[str]
    ) -> None:
        definition = definition_of(seeder)
        if definition is None or not definition.key:
            raise SeedPlanError(f"{seeder.name} has no key to tell rows apart; write its model and its key")
        self._seeder = seeder
        self._tables = SeedTables(Plan(tuple(seeders), PRODUCTION, {}), session)
        self._table = self._tables.of(seeder)
        self._without = frozenset(without)
        for name in sorted(self._without):
            if name in definition.key or name not in self._table.fields.keys() | definition.associations:
                raise SeedPlanError(f"{name} is no attribute of {seeder.name} that can be left out")
        self._rows: dict[SeederClass, list[Values]] = {}
        self._keys: dict[tuple[object, ...], dict[Values, Values]] = {}

    async def rows(self) -> list[Row]:
        """Return the rows, sorted by key, each with its key first.

        Raises:
            SeedDataError: A value cannot be written to a file, or a row cannot be told apart.
        """
        names = [*self._table.key, *(name for name in self._table.fields if self._is_shipped(name))]
        stored = await self._table.read_all(names)
        self._check_classes(stored)
        await self._load(self._seeder, names)
        relationships = {each.key: each for each in self._relationships()}
        for relationship in relationships.values():
            await self._load(self._other_side(relationship), ())
        start = len(names)
        identities = [row[start : start + len(self._table.identity)] for row in stored]
        linked = {name: await self._linked(name, identities) for name in relationships}
        rows: list[Row] = []
        for values, identity in zip(stored, identities, strict=True):
            row = {name: self._written(self._seeder, name, value) for name, value in zip(names, values, strict=False)}
            for name, relationship in relationships.items():
                other = self._other_side(relationship)
                references = (self._reference(other, each) for each in linked[name].get(identity, ()))
                row[name] = sorted(references, key=_rank)
            rows.append(row)
        rows.sort(key=lambda row: [_rank(row[name]) for name in self._table.key])
        for one, next_one in pairwise(rows):
            if all(one[name] == next_one[name] for name in self._table.key):
                raise SeedDataError(
                    "several stored rows have the key", seeder=self._seeder.name, key=self._key_text(one)
                )
        return rows

    # What a row is made of

    def _is_shipped(self, name: str) -> bool:
        """Tell whether a row has the attribute: not what the database, the mapper or a stamp fills in by itself."""
        table, column = self._table, self._table.fields[name].column
        if name in table.key or name in self._without or column.computed is not None:
            return False
        if column in {table.mapper.version_id_col, table.mapper.polymorphic_on}:
            return False
        default: Any = column.default
        is_stamp = default is not None and default.is_callable and default.arg in READS
        if is_stamp or column.onupdate is not None or column.server_onupdate is not None:
            return False
        is_filled_in = table.fields[name].has_default or self._is_of_family(column)
        return not (column.primary_key and is_filled_in)

    def _is_of_family(self, column: Column[Any]) -> bool:
        """Tell whether *column* joins the table of a subclass to that of its base."""
        return any(key.column.table in self._table.mapper.tables for key in column.foreign_keys)

    def _relationships(self) -> Iterator[RelationshipProperty[Any]]:
        """Yield the relationships whose other side has a seeder, of each table between one."""
        between: set[Any] = set()
        for name, relationship in self._table.associations.relationships.items():
            if name in self._without or relationship.secondary in between or not self._candidates(relationship):
                continue
            between.add(relationship.secondary)
            yield relationship

    def _candidates(self, relationship: RelationshipProperty[Any]) -> list[SeederClass]:
        return [each for each in self._known_to(self._seeder) if self._tables.of(each).mapper.isa(relationship.mapper)]

    def _other_side(self, relationship: RelationshipProperty[Any]) -> SeederClass:
        candidates = self._candidates(relationship)
        exact = (each for each in candidates if self._tables.of(each).mapper is relationship.mapper)
        return next(exact, candidates[0])

    def _known_to(self, seeder: SeederClass) -> list[SeederClass]:
        """Return the seeders whose rows those of *seeder* may refer to."""
        known = ((each, definition_of(each)) for each in (seeder, *seeder.depends_on))
        return [each for each, definition in known if definition is not None and definition.key]

    async def _linked(self, name: str, identities: Sequence[Values]) -> Mapping[Values, Iterable[Values]]:
        linked: dict[Values, Iterable[Values]] = {}
        for start in range(0, len(identities), BATCH_SIZE):
            linked |= await self._table.associations.read(name, identities[start : start + BATCH_SIZE])
        return linked

    def _check_classes(self, stored: Sequence[Values]) -> None:
        """Refuse rows of a subclass, of which the seeder would make rows of its own class."""
        mapper = self._table.mapper
        if mapper.polymorphic_on is None:
            return
        for row in stored:
            if row[-1] != mapper.polymorphic_identity:
                other = mapper.polymorphic_map.get(row[-1])
                name = other.class_.__name__ if other is not None else repr(row[-1])
                raise SeedDataError(
                    f"the row is of the class {name}; export those of {name} by a seeder of their own",
                    seeder=self._seeder.name,
                    key=", ".join(f"{name}={value!r}" for name, value in zip(self._table.key, row, strict=False)),
                )

    # What values refer to

    async def _load(self, seeder: SeederClass, names: Sequence[str]) -> None:
        """Read the rows that *names* of *seeder* may refer to, and those that the keys of these refer to."""
        table = self._tables.of(seeder)
        if seeder not in self._rows:
            self._rows[seeder] = await table.read_all(table.key)
            await self._load(seeder, table.key)
        for name in names:
            target = self._target(seeder, table.fields[name], None)
            if target is not None and target.seeder not in self._rows:
                await self._load(target.seeder, ())

    def _target(self, seeder: SeederClass, field: Field, value: Any) -> _Target | None:
        """Return what *value* of *seeder* refers to; None if it refers to nothing that has a seeder."""
        for key in field.column.foreign_keys:
            for other in self._known_to(seeder):
                table = self._tables.of(other)
                if key.column in names_by_column(table.mapper):
                    attribute = table.referred_by(field)
                    if attribute is not None:
                        return _Target(other, attribute, value)
        return None

    def _written(self, seeder: SeederClass, name: str, value: Any) -> Any:
        """Return *value* as a file has it."""
        if value is None:
            return None
        field = self._tables.of(seeder).fields[name]
        target = self._target(seeder, field, value)
        if target is None:
            unnamed = next((key for key in field.column.foreign_keys if _is_generated(key.column)), None)
            if unnamed is None:
                return _plain(seeder, field, value)
            raise SeedDataError(
                f"it refers to {unnamed.column.table.name}, of which {seeder.name} depends on no seeder; "
                f"add one to depends_on, or leave {name} out",
                seeder=seeder.name,
                column=name,
            )
        return self._reference(target.seeder, (target.value,), target.attribute)

    def _reference(self, seeder: SeederClass, values: Values, *attributes: str) -> Row:
        """Return the reference to the row of *seeder* that has *values*, of its primary key unless *attributes* are named."""
        table = self._tables.of(seeder)
        key = self._keys_by(seeder, attributes or table.identity).get(values)
        if key is None:
            raise SeedDataError(f"it refers to a row that {seeder.name} does not find", seeder=self._seeder.name)
        try:
            parts = [self._written(seeder, name, part) for name, part in zip(table.key, key, strict=True)]
        except RecursionError:
            raise SeedDataError(f"rows of {seeder.name} refer to each other by their keys, in a circle") from None
        return {"ref": [seeder.name, *parts]}

    def _keys_by(self, seeder: SeederClass, attributes: Sequence[str]) -> Mapping[Values, Values]:
        """Return the natural keys of the rows of *seeder*, by the values of *attributes*."""
        table = self._tables.of(seeder)
        known = self._keys.get((seeder, *attributes))
        if known is None:
            width, rows = len(table.key), self._rows[seeder]
            if len({row[:width] for row in rows}) < len(rows):
                raise SeedDataError(f"several stored rows of {seeder.name} have the same key", seeder=self._seeder.name)
            places = [width + table.referable.index(attribute) for attribute in attributes]
            known = {tuple(row[place] for place in places): row[:width] for row in rows}
            self._keys[seeder, *attributes] = known
        return known

    def _key_text(self, row: Row) -> str:
        return ", ".join(f"{name}={row[name]!r}" for name in self._table.key)


def _is_generated(column: Column[Any]) -> bool:
    """Tell whether the values of *column* are made where the rows are written, and so mean nothing elsewhere."""
    return (
        column is column.table.autoincrement_column or column.default is not None or column.server_default is not None
    )


def _plain(seeder: SeederClass, field: Field, value: Any) -> Any:
    """Return *value* in types of JSON, from which the column makes the same value again."""
    match value:
        case Enum():
            written: Any = value.name
        case Decimal() | UUID():
            written = str(value)
        case datetime() | date() | time():
            written = value.isoformat()
        case _:
            written = value
    try:
        written = json.loads(json.dumps(written, allow_nan=False))
        is_same = field.is_same(field.converted((written,))[0], value)
    except (BadValueError, TypeError, ValueError):
        is_same = False
    if not is_same:
        raise SeedDataError(
            f"a file cannot hold the value, which is of {type(value).__name__}; leave {field.name} out",
            seeder=seeder.name,
            column=field.name,
        )
    return written


def _rank(value: Any) -> tuple[Any, ...]:
    """Return the place of *value*, as a file has it, in an order of all values."""
    if value is None:
        return (0,)
    if isinstance(value, (bool, int, float)):
        return (1, value)
    if isinstance(value, dict) and isinstance(value.get("ref"), list):  # pyright: ignore[reportUnknownMemberType]
        return (3, *map(_rank, value["ref"]))  # pyright: ignore[reportUnknownArgumentType]
    return (2, value if isinstance(value, str) else json.dumps(value, sort_keys=True))
