"""The repository layer: the queries and the changes that have a name in the domain."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlalchemy.orm import aliased

from examples.executions.models import SHARED, CatalogueRow, Execution, Status
from layered_backend import BaseRepository

RowT = TypeVar("RowT", bound=CatalogueRow)

_OPEN = (Status.PENDING, Status.RUNNING)


@cache
def in_effect(model: type[CatalogueRow]) -> ColumnElement[bool]:
    """Return what a row meets that the group uses: an enabled one that no other of its name hides.

    A row of the group hides the shared one, and a shared one that is disabled hides the group's: nobody is to use it.
    """
    other = aliased(model)
    is_hidden = or_(
        and_(other.group_id == SHARED, other.is_enabled.is_(False)),
        and_(other.group_id != SHARED, model.group_id == SHARED),
    )
    return and_(model.is_enabled, ~exists().where(other.name == model.name, is_hidden))


class CatalogueRepository(BaseRepository[RowT]):
    """The rows of a table of the catalogue: those of the group and the shared ones."""

    async def named(self, names: Iterable[str]) -> Mapping[str, RowT]:
        """Return those of the names that are in effect, by name."""
        return {row.name: row for row in await self.list(in_effect(self.model), self.model.name.in_({*names}))}


class ExecutionRepository(BaseRepository[Execution]):
    """The executions. What changes one says which status it must have, so that of two changes one is made."""

    async def begin(self, execution_id: UUID, *, limit: float) -> bool:
        """Set one to work that waits, and tell whether that was so; it has *limit* seconds to show that it goes on."""
        values = {"status": Status.RUNNING, "started_at": datetime.now(UTC), "lease_until": lease(limit)}
        return await self._move((Status.PENDING,), values, Execution.id == execution_id) > 0

    async def advance(self, execution_id: UUID, done: int, *, limit: float) -> bool:
        """Note how many steps are done, and tell whether it is to go on."""
        values = {"done": done, "lease_until": lease(limit)}
        return await self._move((Status.RUNNING,), values, Execution.id == execution_id) > 0

    async def end(self, execution_id: UUID, status: Status, **values: Any) -> bool:
        """End one that waits or runs, and tell whether it did."""
        values |= {"status": status, "ended_at": datetime.now(UTC)}
        return await self._move(_OPEN, values, Execution.id == execution_id) > 0

    async def end_abandoned(self) -> int:
        """End those whose process has died, and return how many there were."""
        now = datetime.now(UTC)
        values = {"status": Status.FAILED, "ended_at": now, "error": "The server stopped before it had ended"}
        return await self._move(_OPEN, values, Execution.lease_until < now)

    async def _move(self, formerly: Iterable[Status], values: Mapping[str, Any], criterion: ColumnElement[bool]) -> int:
        return await self.update_where(Execution.status.in_(formerly), criterion, values=values)


def lease(seconds: float) -> datetime:
    """Return until when an execution may give no sign of life."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
