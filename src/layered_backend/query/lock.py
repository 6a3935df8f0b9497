"""Row locks: keeping others from a row until the transaction ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, inspect
from sqlalchemy.orm import Mapper

from layered_backend.query.unique_keys import tables_among

__all__ = ["Lock"]

SelectT = TypeVar("SelectT", bound=Select[Any])


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on the rows that are read. SQLite, which has one writer, needs none and gets none.

        item = await uow.items.get(7, lock=Lock.update())

    Attributes:
        is_shared: Whether others may hold the same lock: they may read the row, not write it.
        nowait: Whether to raise LockTimeoutError at once where another transaction has the row.
        skip_locked: Whether to pass over a row that another transaction has, as if there were none.
    """

    is_shared: bool = False
    nowait: bool = False
    skip_locked: bool = False

    @classmethod
    def update(cls, *, nowait: bool = False, skip_locked: bool = False) -> Lock:
        """Return the lock of one who will write the row: FOR UPDATE."""
        return cls(nowait=nowait, skip_locked=skip_locked)

    @classmethod
    def share(cls, *, nowait: bool = False, skip_locked: bool = False) -> Lock:
        """Return the lock of one who needs the row to stay as it is: FOR SHARE."""
        return cls(is_shared=True, nowait=nowait, skip_locked=skip_locked)

    def on(self, statement: SelectT, model: type[Any]) -> SelectT:
        """Return *statement* with the lock on its rows of *model*; what the session knows of them is read anew."""
        mapper: Mapper[Any] = inspect(model, raiseerr=True)
        # Not the model itself: it may bring the tables of its subclasses by an outer join, whose rows cannot be locked.
        tables = [*tables_among(mapper.tables)]
        locking = statement.with_for_update(
            read=self.is_shared, nowait=self.nowait, skip_locked=self.skip_locked, of=tables or model
        )
        return locking.execution_options(populate_existing=True)
