"""One run of the seeders: one transaction, a savepoint and a context for each seeder, a new attempt after a passing error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from layered_backend.database import Database
from layered_backend.errors import (
    DatabaseUnavailableError,
    LockTimeoutError,
    ReadOnlyError,
    SeedDataError,
    SeedDeletionError,
    SeedPlanError,
    SeedReferenceError,
    TransientError,
)
from layered_backend.repository import BaseRepository
from layered_backend.seeding.plan import PRODUCTION, Plan
from layered_backend.seeding.reconciliation import Reconciliation
from layered_backend.seeding.references import Resolver, SeedTables
from layered_backend.seeding.report import SeedProgress, SeedReport, SeedResult, SeedStatus, Tally
from layered_backend.seeding.seeder import Ref, Rows, SeedContext, Seeder, definition_of, has_own_run
from layered_backend.seeding.writer import Retirement, Writer
from layered_backend.session import GuardedSession
from layered_backend.unit_of_work import Outcome, Savepoint, UnitOfWork
from layered_backend.unit_of_work.rerun import Backoff

__all__ = ["Options", "Run"]

_logger = logging.getLogger("layered_backend")

_LOCK = "seeding"
_ATTEMPTS = 5
_PASSING = (TransientError, DatabaseUnavailableError)
_UNFORESEEN = "it writes past its rows, which a dry run cannot foresee"

SeederClass = type[Seeder[Any]]
RepositoryT = TypeVar("RepositoryT", bound=BaseRepository[Any])


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run.

    Attributes:
        is_dry_run: Whether nothing is to be written.
        is_atomic: Whether one failure undoes all.
        allows_deletes: Whether rows may be deleted in production.
        lock_timeout: Seconds to wait for another process that is seeding.
        progress: Told how far the run is.
    """

    is_dry_run: bool
    is_atomic: bool
    allows_deletes: bool
    lock_timeout: float
    progress: Callable[[SeedProgress], object] | None


class _UndoneError(Exception):
    """All is to be rolled back, as the results say."""


class _AgainError(Exception):
    """All is to be rolled back and begun anew, without the seeder that has failed too late to be undone alone."""


@dataclass(slots=True)
class _State:
    """The state of an attempt."""

    results: dict[SeederClass, SeedResult] = field(default_factory=dict[SeederClass, SeedResult])
    tallies: dict[SeederClass, Tally] = field(default_factory=dict[SeederClass, Tally])
    is_locked: bool = False


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


class Run:
    """A run, with the attempts that it takes. Lives until its report.

    Args:
        plan: The plan of the run.
        database: The database to seed.
        options: The options of the run.
        imports: The results of modules that could not be imported.
    """

    def __init__(self, plan: Plan, database: Database, options: Options, imports: Sequence[SeedResult]) -> None:
        self._plan = plan
        self._database = database
        self._options = options
        self._imports = imports
        self._error: BaseException | None = None
        self._too_late: dict[SeederClass, SeedResult] = {}
        self._state = _State()
        self._backoff = Backoff(_ATTEMPTS, name="the run", passing=_PASSING)
        self._patience = time.monotonic() + options.lock_timeout

    def unit_of_work(self) -> UnitOfWork:
        """Return a new unit of work for an attempt.

        In READ COMMITTED a statement sees what was committed before it; under a stricter level it would be what was
        committed before the transaction began, and so before it had to wait for its lock.
        """
        uow = UnitOfWork(self._database, read_only=self._options.is_dry_run, isolation_level="READ COMMITTED")
        uow.is_rerun = True
        return uow

    async def attempt(self, uow: UnitOfWork) -> None:
        """Run all seeders once, in the block of *uow*; pass an error to `after`."""
        state = self._state = _State(dict(self._too_late))
        await self._lock(uow)
        tables = SeedTables(self._plan, uow.session)
        transaction = SeedTransaction(uow, self._plan.environment, tables, Resolver(tables))
        for position, seeder in enumerate(self._plan.order, start=1):
            if seeder not in state.results:
                state.results[seeder] = await self._seed(seeder, position, transaction)
            if self._options.is_atomic and state.results[seeder].status is SeedStatus.FAILED:
                raise _UndoneError(f"{seeder.name} failed")
        await self._retire(transaction)

    def after(self, error: Exception, outcome: Outcome) -> float | None:
        """Return the seconds to wait before all is tried again after *error*, or None where the run is over."""
        if isinstance(error, _AgainError):
            return 0
        if isinstance(error, _UndoneError):
            self._undo_results(str(error))
            return None
        if isinstance(error, LockTimeoutError) and not self._state.is_locked and time.monotonic() < self._patience:
            return 0  # SQLite waits for its busy timeout only
        try:
            return self._delay_after(error, outcome)
        except Exception as final:  # noqa: BLE001  # it is in the report, whatever it is
            self._error = final
            return None

    def _delay_after(self, error: Exception, outcome: Outcome) -> float:
        if isinstance(error, LockTimeoutError) and not self._state.is_locked:
            raise LockTimeoutError(
                f"another process has been seeding for more than {self._options.lock_timeout:g} seconds"
            ) from error
        return self._backoff.delay_after(error, outcome)

    @property
    def report(self) -> SeedReport:
        """The report of the run, once it is over."""
        results = [self._final(seeder) for seeder in self._plan.order]
        return SeedReport((*self._imports, *results), self._plan.environment, self._options.is_dry_run, self._error)

    # One attempt

    async def _lock(self, uow: UnitOfWork) -> None:
        if not self._options.is_dry_run:
            left = max(0.0, self._patience - time.monotonic())
            lock = self._database.dialect.locks.lock
            await uow.session.run_sync(lambda session: lock(session.connection(), _LOCK, left))
        self._state.is_locked = True

    async def _seed(self, seeder: SeederClass, position: int, transaction: SeedTransaction) -> SeedResult:
        reason = self._reason_to_skip(seeder)
        if reason is not None:
            return SeedResult(seeder.name, SeedStatus.SKIPPED, reason=reason)
        started = time.monotonic()
        tally = self._state.tallies[seeder] = Tally(changes=[] if self._options.is_dry_run else None)
        tell = partial(self._tell, seeder, position, tally)
        tell(None)
        error = await self._error_of(seeder, RunContext(seeder, transaction, tally, tell))
        tell(None, is_done=True)
        seconds = time.monotonic() - started
        if error is None:
            return SeedResult(seeder.name, SeedStatus.DONE, seconds=seconds)
        if self._options.is_dry_run and isinstance(error, ReadOnlyError):
            return SeedResult(seeder.name, SeedStatus.SKIPPED, reason=_UNFORESEEN, seconds=seconds)
        return SeedResult(seeder.name, SeedStatus.FAILED, error=error, seconds=seconds)

    async def _error_of(self, seeder: SeederClass, context: RunContext) -> Exception | None:
        """Run *seeder* in a savepoint, and return what it failed with; an error that undoes all the others is raised."""
        try:
            async with context.savepoint():
                await seeder().run(context)
                await context.check_deferred()
        except Exception as error:
            if isinstance(error, _PASSING) or isinstance(error.__cause__, _PASSING) or context.is_undone:
                raise
            if isinstance(error, SeedDataError):
                error.seeder = error.seeder or seeder.name
            return error
        return None

    def _reason_to_skip(self, seeder: SeederClass) -> str | None:
        if seeder in self._plan.excluded:
            return self._plan.excluded[seeder]
        for dependency in seeder.depends_on:
            status = self._state.results[dependency].status
            if status is not SeedStatus.DONE:
                verb = "failed" if status is SeedStatus.FAILED else "was skipped"
                return f"it depends on {dependency.name}, which {verb}"
        return None

    def _tell(
        self, seeder: SeederClass, position: int, tally: Tally, total: int | None, *, is_done: bool = False
    ) -> None:
        if self._options.progress is None:
            return
        progress = SeedProgress(seeder.name, position, len(self._plan.order), tally.rows, total, is_done)
        try:
            self._options.progress(progress)
        except Exception:
            _logger.exception("the progress callback failed; the run goes on")

    # Retired rows

    async def _retire(self, transaction: SeedTransaction) -> None:
        """Delete retired rows, those of a seeder before those of what it depends on."""
        done = [seeder for seeder, result in self._state.results.items() if result.status is SeedStatus.DONE]
        retiring = [
            Retirement(seeder, transaction.tables, transaction.resolver, transaction.uow)
            for seeder in reversed(done)
            if seeder.retired
        ]
        for retirement in retiring:
            await self._guarded(retirement, transaction.uow, retirement.find())
        self._refuse_deletes([retirement for retirement in retiring if retirement.rows])
        for retirement in retiring:
            tally = self._state.tallies[retirement.seeder]
            tally.deleted += len(retirement.rows)
            for change in retirement.changes:
                tally.record(change)
            if retirement.rows and not self._options.is_dry_run:
                await self._guarded(retirement, transaction.uow, retirement.delete())

    async def _guarded(self, retirement: Retirement, uow: UnitOfWork, step: Coroutine[Any, Any, None]) -> None:
        """Do *step*; where it fails, all begins anew without the seeder, which has been done by now."""
        try:
            async with uow.savepoint():
                await step
        except Exception as error:
            if isinstance(error, _PASSING) or isinstance(error.__cause__, _PASSING) or uow.session.state.error:
                raise
            seeder = retirement.seeder
            self._too_late[seeder] = SeedResult(seeder.name, SeedStatus.FAILED, error=error)
            raise _AgainError from error

    def _refuse_deletes(self, retiring: Sequence[Retirement]) -> None:
        is_allowed = self._options.allows_deletes or self._options.is_dry_run
        if is_allowed or self._plan.environment != PRODUCTION or not retiring:
            return
        for retirement in retiring:
            listed = "; ".join(str(change) for change in retirement.changes)
            error = SeedDeletionError(f"the run would delete rows in production, which nobody has allowed: {listed}")
            name = retirement.seeder.name
            self._state.results[retirement.seeder] = SeedResult(
                name, SeedStatus.FAILED, error=error, changes=tuple(retirement.changes)
            )
        raise _UndoneError("rows would be deleted in production, which nobody has allowed")

    # Results

    def _undo_results(self, why: str) -> None:
        for seeder in self._plan.order:
            result = self._state.results.get(seeder)
            if result is None or result.status is SeedStatus.DONE:
                self._state.results[seeder] = SeedResult(
                    seeder.name, SeedStatus.SKIPPED, reason=f"nothing is written, because {why}"
                )

    def _final(self, seeder: SeederClass) -> SeedResult:
        """Return the result of *seeder*, with its counts only where they are committed."""
        result = self._state.results.get(seeder)
        if self._error is not None and (result is None or result.status is SeedStatus.DONE):
            return SeedResult(seeder.name, SeedStatus.FAILED, error=self._error)
        assert result is not None
        if result.status is not SeedStatus.DONE:
            return result
        tally = self._state.tallies[seeder]
        return replace(
            result,
            inserted=tally.inserted,
            updated=tally.updated,
            unchanged=tally.unchanged,
            deleted=tally.deleted,
            changes=tuple(tally.changes or ()),
        )
