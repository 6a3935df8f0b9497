"""The many-to-many relationships of a mapped class: what is associated with its rows, read and written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Mapper, RelationshipProperty, Session, aliased, lazyload, selectinload
from sqlalchemy.orm.collections import collection_adapter

from layered_backend.dialects import dialect_named
from layered_backend.session import GuardedSession

__all__ = ["Associations", "associations_of"]

Values = tuple[Any, ...]


def associations_of(mapper: Mapper[Any]) -> Mapping[str, RelationshipProperty[Any]]:
    """Return the relationships that rows may set with a list of references: those to many rows by a table between."""
    return {
        relationship.key: relationship
        for relationship in mapper.relationships
        if relationship.secondary is not None and relationship.uselist and not relationship.viewonly
    }


class Associations:
    """The rows that are associated with those of a mapped class. Lives as long as the run's transaction.

    Args:
        mapper: Of the class.
        session: Where to work.

    Attributes:
        relationships: The relationships, by name.
    """

    def __init__(self, mapper: Mapper[Any], session: GuardedSession) -> None:
        self._mapper = mapper
        self._session = session
        self._keys = dialect_named(session.get_bind().dialect.name).keys
        self.relationships: Mapping[str, RelationshipProperty[Any]] = associations_of(mapper)

    async def read(self, name: str, identities: Collection[Values]) -> Mapping[Values, Set[Values]]:
        """Return the primary keys of what the relationship *name* associates with rows, by the primary key of the row."""
        if not identities:
            return {}
        target: Any = aliased(self.relationships[name].mapper)
        own, others = _key_of(self._mapper, self._mapper.class_), _key_of(self.relationships[name].mapper, target)
        relationship: Any = getattr(self._mapper.class_, name)
        statement = (
            select(*own, *others)
            .select_from(self._mapper.class_)
            .join(relationship.of_type(target))
            .where(self._keys.among(own, list(identities)))
        )
        rows = await self._session.run_sync(lambda session: session.connection().execute(statement).all())
        associated: dict[Values, set[Values]] = {}
        for row in rows:
            associated.setdefault(tuple(row[: len(own)]), set()).add(tuple(row[len(own) :]))
        return associated

    async def write(self, name: str, wanted: Mapping[Values, Set[Values]]) -> None:
        """Bring what *name* associates with rows in line with *wanted*, both by primary key.

        The mapper does it: it knows the table between, the collection, and who listens.
        """
        stored = await self.read(name, wanted.keys())
        targets = {identity for each in wanted.values() for identity in each}
        targets.update(identity for each in stored.values() for identity in each)

        def write(session: Session) -> None:
            entities = self._entities(session, self._mapper, wanted.keys(), name)
            others = self._entities(session, self.relationships[name].mapper, targets)
            for identity, entity in entities.items():
                before, after = stored.get(identity, frozenset[Values]()), wanted[identity]
                add, remove = _changing(self.relationships[name], getattr(entity, name))
                for other in before - after:
                    remove(others[other])
                for other in after - before:
                    add(others[other])
            session.flush()

        await self._session.run_sync(write)

    async def clear(self, identities: Sequence[Values]) -> None:
        """Associate nothing any more with the rows that have those primary keys."""
        for name in self.relationships:
            stored = await self.read(name, identities)
            if stored:
                await self.write(name, dict.fromkeys(stored, frozenset[Values]()))

    def _entities(
        self, session: Session, mapper: Mapper[Any], identities: Collection[Values], name: str | None = None
    ) -> Mapping[Values, Any]:
        """Return the entities of those primary keys, with the collection *name* as it is stored."""
        if not identities:
            return {}
        statement = select(mapper.class_).where(self._keys.among(_key_of(mapper, mapper.class_), list(identities)))
        options = [lazyload("*")]
        if name is not None and not _is_write_only(self.relationships[name]):
            options.append(selectinload(getattr(mapper.class_, name)).lazyload("*"))
        entities = session.scalars(statement.options(*options).execution_options(populate_existing=name is not None))
        return {inspect(entity, raiseerr=True).identity: entity for entity in entities.unique()}


def _key_of(mapper: Mapper[Any], entity: Any) -> list[Any]:
    return [getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def _is_write_only(relationship: RelationshipProperty[Any]) -> bool:
    return relationship.lazy in {"write_only", "dynamic"}


def _changing(relationship: RelationshipProperty[Any], collection: Any) -> tuple[Any, Any]:
    """Return the functions that add to *collection*, of whatever class it is, and remove from it."""
    if _is_write_only(relationship):
        return collection.add, collection.remove
    adapter = collection_adapter(collection)
    return adapter.append_with_event, adapter.remove_with_event
