"""The context of a seeder in a run: its part of the transaction, and what it has done so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from layered_backend.errors import SeedPlanError, SeedReferenceError
from layered_backend.repository import BaseRepository
from layered_backend.seeding.definition import definition_of, has_own_run
from layered_backend.seeding.reconciliation import Reconciliation
from layered_backend.seeding.resolver import Resolver
from layered_backend.seeding.seed_table import SeedTables
from layered_backend.seeding.seeder import Ref, Rows, SeedContext, Seeder
from layered_backend.seeding.writer import Tally, Writer
from layered_backend.session import GuardedSession
from layered_backend.unit_of_work import Savepoint, UnitOfWork

__all__ = ["RunContext", "SeedTransaction"]

RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])


@dataclass(frozen=True, slots=True)
class SeedTransaction:
    """The transaction of a run, which its seeders share. Lives as long as the transaction.

    Attributes:
        uow: The transaction.
        environment: The environment of the run.
        tables: The stored rows, by seeder.
        resolver: The rows that can be referred to.
    """

    uow: UnitOfWork
    environment: str
    tables: SeedTables
    resolver: Resolver


class RunContext(SeedContext):
    """The context of one seeder in a run, which also ends its savepoint. Lives as long as the seeder runs."""

    def __init__(
        self,
        seeder: type[Seeder[Any]],
        transaction: SeedTransaction,
        tally: Tally,
        on_batch: Callable[[int | None], None],
    ) -> None:
        self.environment: str = transaction.environment
        self.is_dry_run: bool = transaction.uow.read_only
        self._seeder = seeder
        self._uow = transaction.uow
        self._tables = transaction.tables
        self._resolver = transaction.resolver
        self._tally = tally
        self._on_batch = on_batch
        self._reconciliation: Reconciliation | None = None

    @property
    def session(self) -> GuardedSession:
        return self._uow.session

    def repository(self, repository_class: type[RepositoryT]) -> RepositoryT:
        return self._uow.repository(repository_class)

    async def reconcile(self, rows: Rows) -> None:
        await self.session.flush()
        if self._reconciliation is None:
            self._reconciliation = self._new_reconciliation()
        await self._reconciliation.reconcile(rows, self._on_batch)

    async def find(self, reference: Ref) -> Any:
        await self.session.flush()
        await self._resolver.look_up({reference})
        row = self._resolver.row(reference)
        if row is None:
            raise SeedReferenceError(f"{reference!r} refers to a row that is neither shipped nor stored")
        width = len(self._tables.of(reference.seeder).identity)
        return row[:width] if width > 1 else row[0]

    def count(self, *, inserted: int = 0, updated: int = 0, unchanged: int = 0, deleted: int = 0) -> None:
        self._tally.inserted += inserted
        self._tally.updated += updated
        self._tally.unchanged += unchanged
        self._tally.deleted += deleted

    @property
    def is_undone(self) -> bool:
        """Tell whether the whole transaction was undone, not only the work of the seeder."""
        return self._uow.session.state.error is not None

    def savepoint(self) -> Savepoint:
        """Return a block that can fail alone."""
        return self._uow.savepoint()

    async def check_deferred(self) -> None:
        """Check the constraints that the database would check at COMMIT, while the seeder of a bad row is still known.

        Raises:
            LayeredError: A constraint is violated.
        """
        if self.session.state.top.error is not None or not self.session.is_active:
            return  # an error was caught, as the end of the savepoint will tell
        await self.session.flush()
        if self.is_dry_run or not (self._tally.has_written or has_own_run(self._seeder)):
            return
        tables = self._tables.written_by(self._seeder)
        transactions = self._uow.database.dialect.transactions
        await self.session.run_sync(lambda session: transactions.check_deferred(session.connection(), tables))

    def _new_reconciliation(self) -> Reconciliation:
        definition = definition_of(self._seeder)
        if definition is None or not definition.key:
            raise SeedPlanError(f"{self._seeder.name} has no key to reconcile rows by; write its model and its key")
        table = self._tables.of(self._seeder)
        writer = Writer(self._seeder, table, self._uow, self._tally)
        return Reconciliation(definition, table, self._resolver, writer, self._tally)
