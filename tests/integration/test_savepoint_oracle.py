"""Any run of changes, savepoints, commits and rollbacks leaves what SQLAlchemy's own session leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from layered_backend import Database
from tests.shop import Base, ShopUnitOfWork, Stock


class _BlockFailedError(Exception):
    """The block of a savepoint fails."""


@dataclass(frozen=True)
class Change:
    """One call of the session: a verb, and the key of the row that it is for."""

    verb: str
    warehouse: str
    item_code: int


@dataclass(frozen=True)
class Block:
    """A savepoint.

    Attributes:
        steps: The steps inside.
        fails: Whether it raises at its end.
        is_ours: Whether `UnitOfWork.savepoint` opens it, or SQLAlchemy's `begin_nested`.
    """

    steps: tuple[Step, ...]
    fails: bool
    is_ours: bool


Step = Change | Block

_CHANGES = st.builds(
    Change,
    st.sampled_from(["add", "add", "amend", "amend", "renumber", "delete", "flush", "expire", "commit", "rollback"]),
    st.sampled_from("ab"),
    st.integers(1, 2),
)
_STEPS: st.SearchStrategy[Step] = st.recursive(
    _CHANGES,
    lambda inner: st.builds(Block, st.lists(inner, max_size=4).map(tuple), st.booleans(), st.booleans()),
    max_leaves=12,
)


class Player:
    """Plays steps on a session, and keeps every entity that it has seen.

    Args:
        session: SQLAlchemy's own, or that of *uow*.
        uow: The unit of work; None for SQLAlchemy's own session.
    """

    def __init__(self, session: AsyncSession, uow: ShopUnitOfWork | None = None) -> None:
        self._session = session
        self._uow = uow
        self._entities: list[Stock] = []
        self._number = 0
        self.seen: list[object] = []

    async def play(self, steps: tuple[Step, ...], *, is_inner: bool = False) -> None:
        for step in steps:
            if isinstance(step, Block):
                await self._play_block(step)
            elif not (is_inner and step.verb in {"commit", "rollback"}):
                await self._change(step)
            self.seen.append((step, self._sight()))

    async def _play_block(self, block: Block) -> None:
        with suppress(_BlockFailedError):
            is_ours = self._uow is not None and block.is_ours
            async with self._uow.savepoint() if self._uow and is_ours else self._session.begin_nested():
                await self.play(block.steps, is_inner=True)
                if block.fails:
                    raise _BlockFailedError

    async def _change(self, change: Change) -> None:  # a case for each verb
        self._number += 1
        session, key = self._session, (change.warehouse, change.item_code)
        match change.verb:
            case "commit":
                await (self._uow or session).commit()
            case "rollback":
                await (self._uow or session).rollback()
            case "flush":
                await session.flush()
            case "add":
                if await self._find(key) is None:
                    self._entities.append(Stock(warehouse=key[0], item_code=key[1], amount=self._number))
                    session.add(self._entities[-1])
            case verb:
                entity = await self._find(key)
                if entity is not None:
                    await self._change_entity(entity, verb)

    async def _change_entity(self, entity: Stock, verb: str) -> None:
        other_key = (entity.warehouse, 3 - entity.item_code)
        if verb == "amend":
            entity.amount = self._number
        elif verb == "delete":
            await self._session.delete(entity)
        elif verb == "expire":
            self._session.expire(entity, ["amount"])
        elif await self._find(other_key) is None:  # renumber
            entity.item_code = other_key[1]

    async def _find(self, key: tuple[str, int]) -> Stock | None:
        """Read the row, after what is pending was flushed."""
        statement = select(Stock).where(tuple_(Stock.warehouse, Stock.item_code) == key)
        entity = (await self._session.scalars(statement)).one_or_none()
        if entity is not None and not any(entity is other for other in self._entities):
            self._entities.append(entity)
        return entity

    def _sight(self) -> object:
        """Return what the session knows of each entity; the key of a persistent one is that of its identity."""
        states = [inspect(entity) for entity in self._entities]
        if self._uow is not None:
            for entity, state in zip(self._entities, states, strict=True):
                if state.persistent and not state.modified:
                    assert (entity.warehouse, entity.item_code) == state.identity
        return [
            (state.transient, state.pending, state.persistent, state.deleted, state.detached, state.modified, state.key)
            for state in states
        ]

    async def rows(self) -> list[tuple[str, int, int]]:
        rows = await self._session.execute(
            select(Stock.warehouse, Stock.item_code, Stock.amount).order_by(Stock.warehouse, Stock.item_code)
        )
        return [(row.warehouse, row.item_code, row.amount) for row in rows]


async def _play_on_both(steps: tuple[Step, ...], databases: tuple[Database, Database]) -> None:
    ours, theirs = databases
    await asyncio.gather(*(database.create_all(Base.metadata) for database in databases))
    async with ShopUnitOfWork(ours) as uow:
        player = Player(uow.session, uow)
        await player.play(steps)
    async with AsyncSession(theirs.engine, expire_on_commit=False) as session:
        oracle = Player(session)
        await oracle.play(steps)
        await session.commit()

        assert player.seen == oracle.seen
        expected = await oracle.rows()
    async with ShopUnitOfWork(ours) as uow:
        assert await Player(uow.session).rows() == expected


@given(steps=st.lists(_STEPS, min_size=1, max_size=8).map(tuple))
@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_session_ends_as_sqlalchemys_own_does(steps: tuple[Step, ...]) -> None:
    async def compare() -> None:
        async with Database("sqlite://") as ours, Database("sqlite://") as theirs:
            await _play_on_both(steps, (ours, theirs))

    asyncio.run(compare())
