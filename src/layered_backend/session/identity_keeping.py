"""Keeping the identity of an entity that a rollback has expired."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper

__all__ = ["keep_identity"]


def keep_identity(entity: object) -> None:
    """Give *entity* its primary key back, where a rollback has expired it: the rollback has not changed it."""
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    if not state.expired_attributes or state.identity is None:
        return
    for name, value in _key_attributes(state.mapper, state.identity):
        if name in state.expired_attributes:
            state.dict[name] = value
            state.expired_attributes.discard(name)


def _key_attributes(mapper: Mapper[Any], identity: tuple[Any, ...]) -> Generator[tuple[str, Any]]:
    """Yield the names of the attributes that hold the primary key, with their values.

    A class that is mapped to a table of its own, joined to its base's, may have its own name for the same key.
    """
    lineage: list[Mapper[Any]] = [mapper]
    while (base := lineage[-1].inherits) is not None:
        lineage.append(base)
    values = dict(zip(mapper.primary_key, identity, strict=True))
    for each in reversed(lineage):
        for column in each.local_table.primary_key:
            referred = next((known for known in values if column is not known and column.references(known)), None)
            if referred is not None:
                values.setdefault(column, values[referred])
    for column, value in values.items():
        yield mapper.get_property_by_column(column).key, value
