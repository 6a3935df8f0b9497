"""Locks of a database that has none with a name: a row of a table, which a transaction holds until it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from layered_backend.dialects.lock_names import lock_label
from layered_backend.dialects.protocols import Locks
from layered_backend.errors import ConflictError, LayeredError, LockTimeoutError, TransientError, UnitOfWorkError

__all__ = ["PortableLocks"]

_TABLE = Table("layered_backend_locks", MetaData(), Column("name", String(64), primary_key=True))


class PortableLocks(Locks):
    """Locks the row of that name in the table `layered_backend_locks`, which is made when it is first needed.

    The database decides how long a statement waits for a row: *timeout* does not shorten it. Where CREATE TABLE commits,
    make the table beforehand: its one column is `name`, a VARCHAR(64) and the primary key. The table and the row are made
    in savepoints.
    """

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Wait for the lock *name*, and hold it until the transaction ends.

        Raises:
            LockTimeoutError: Another process has added the row meanwhile, and this transaction does not see it.
            UnitOfWorkError: The database refuses the table or the row, for a reason that does not pass.
        """
        label = lock_label(name)
        if not inspect(connection).has_table(_TABLE.name):
            # Another process may be making it as well. The database then has this one wait until the other's transaction
            # has ended, which is what the lock is for, and refuses the second table or row.
            refusal = _refusal_of(connection, partial(_TABLE.create, connection))
            if refusal is not None and not inspect(connection).has_table(_TABLE.name):
                raise UnitOfWorkError(_advice(f"the table {_TABLE.name} cannot be made", refusal)) from refusal
        refusal = None
        if connection.scalar(select(_TABLE.c.name).where(_TABLE.c.name == label)) is None:
            refusal = _refusal_of(connection, lambda: connection.execute(insert(_TABLE).values(name=label)))
        if connection.execute(update(_TABLE).where(_TABLE.c.name == label).values(name=label)).rowcount:
            return
        if refusal is None or isinstance(refusal, ConflictError | TransientError):
            told = f" ({_told(refusal)})" if refusal else ""
            raise LockTimeoutError(
                f"another process has added the lock {name!r} to {_TABLE.name} meanwhile{told}; try again"
            ) from refusal
        raise UnitOfWorkError(_advice(f"the lock {name!r} cannot be added to {_TABLE.name}", refusal)) from refusal

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        return False


def _refusal_of(connection: Connection, act: Callable[[], object]) -> DBAPIError | LayeredError | None:
    """Call *act* in a savepoint, and return the error that has undone it, or None."""
    try:
        with connection.begin_nested():
            act()
    except (DBAPIError, LayeredError) as error:
        return error
    return None


def _told(refusal: DBAPIError | LayeredError) -> str:
    """Return what the database says, in one line. The statements are this module's: nobody's values are in it."""
    said = str(refusal.orig if isinstance(refusal, DBAPIError) else refusal)
    return next(iter(said.splitlines()), type(refusal).__name__)


def _advice(problem: str, refusal: DBAPIError | LayeredError) -> str:
    return (
        f"{problem}: {_told(refusal)}. If the user may not create tables, create it beforehand: name VARCHAR(64) PRIMARY "
        "KEY. If the database has no savepoints, give the dialect a part `locks` of its own"
    )
