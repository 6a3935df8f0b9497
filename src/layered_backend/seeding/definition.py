"""Definitions of seeders: the declarations of their classes, checked before a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper, QueryableAttribute

from layered_backend.errors import SeedPlanError
from layered_backend.memoization import memoized
from layered_backend.seeding.seeder import Seeder
from layered_backend.type_arguments import type_arguments

__all__ = ["Definition", "definition_of", "has_own_run", "is_complete"]


@dataclass(frozen=True, slots=True)
class Definition:
    """The mapped class of a seeder, and the names of the attributes that it declares.

    Attributes:
        seeder: The class of the seeder.
        mapper: The mapper of the mapped class.
        key: The names of the natural key.
        insert_only: The names of the attributes that are set only once.
    """

    seeder: type[Seeder[Any]]
    mapper: Mapper[Any]
    key: tuple[str, ...]
    insert_only: frozenset[str]


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
    return Definition(seeder, mapper, key, frozenset(_names(seeder, mapper, "insert_only")) - set(key))


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
        if issubclass(mapper.class_, owner) and attribute.key in mapper.column_attrs:
            return attribute.key
    model = mapper.class_.__name__
    raise SeedPlanError(f"{seeder.name}.{declaration} has {attribute!s}, which is not a column attribute of {model}")
