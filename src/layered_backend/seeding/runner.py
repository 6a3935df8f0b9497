"""The seed runner: all seeders of an application, and the one place that runs them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Self

from layered_backend.database import Database
from layered_backend.errors import SeedError, UnitOfWorkError
from layered_backend.seeding.export import Export
from layered_backend.seeding.plan import Discovery, Plan, checked_seeders, discovered, plan_of, seeders_named
from layered_backend.seeding.report import SeedProgress, SeedReport
from layered_backend.seeding.run import Options, Run
from layered_backend.seeding.seeder import Seeder
from layered_backend.session import drive
from layered_backend.unit_of_work import UnitOfWork, open_in_this_task

__all__ = ["SeedRunner"]

SeederClass = type[Seeder[Any]]

_LOCK_TIMEOUT = 10 * 60.0  # 10 minutes, in seconds


class SeedRunner:
    """The seeders of an application. Lives as long as the process; it may be made before anything else is.

        seeds = SeedRunner([ItemSeeder, CategorySeeder], database=database)
        report = await seeds.run()

    Args:
        seeders: Their classes, in any order; they are sorted by what they depend on.
        database: Where they seed, unless a run names another.
        lock_timeout: Seconds that a run waits for another process that is seeding the same database. SQLite waits for
            its busy timeout (30 seconds) at least.
    """

    def __init__(
        self, seeders: Iterable[SeederClass], *, database: Database | None = None, lock_timeout: float = _LOCK_TIMEOUT
    ) -> None:
        given = tuple(seeders)
        self._find: Callable[[], Discovery] = lambda: (given, ())
        self._database = database
        self._lock_timeout = lock_timeout

    @classmethod
    def from_package(
        cls, package: str, *, database: Database | None = None, lock_timeout: float = _LOCK_TIMEOUT
    ) -> Self:
        """Return the runner of all seeders that the modules of a package define.

        The modules are imported by the first run, each by itself: one that cannot be imported is a failed result, and does
        not take the others down. A class whose name begins with an underscore is left out, and so is `__main__`.

        Args:
            package: Its name, such as "shop.seeds".
            database: As for the class.
            lock_timeout: As for the class.
        """
        runner = cls((), database=database, lock_timeout=lock_timeout)
        runner._find = lambda: discovered(package)
        return runner

    @cached_property
    def _found(self) -> Discovery:
        seeders, failures = self._find()
        return checked_seeders(seeders), failures

    @property
    def database(self) -> Database:
        """The database in which a run seeds that names no other.

        Raises:
            UnitOfWorkError: The runner was given none.
        """
        return self._chosen(None)

    @property
    def seeders(self) -> Sequence[SeederClass]:
        """The seeders, each after those that it depends on.

        Raises:
            SeedPlanError: They do not fit together.
        """
        return self._found[0]

    def plan(
        self,
        *,
        only: Iterable[str | SeederClass] | None = None,
        tags: Iterable[str] | None = None,
        environment: str | None = None,
    ) -> Plan:
        """Return what `run` with these arguments would do, in which order.

        Raises:
            SeedPlanError: The seeders do not fit together, or something is asked for that is not there.
        """
        return plan_of(self.seeders, only=only, tags=tags, environment=environment)

    async def run(
        self,
        *,
        only: Iterable[str | SeederClass] | None = None,
        tags: Iterable[str] | None = None,
        environment: str | None = None,
        dry_run: bool = False,
        atomic: bool = False,
        allow_deletes: bool = False,
        database: Database | None = None,
        progress: Callable[[SeedProgress], object] | None = None,
    ) -> SeedReport:
        """Run the seeders, in one transaction under one lock, and tell what became of them.

        What a seeder raises is in its result, and what the run as a whole failed with is in the report: look at
        `report.ok`.

        Args:
            only: The names, or the classes, of those that are wanted; what they depend on comes with them.
            tags: Labels, one of which a seeder must have to be wanted; what it depends on comes with it.
            environment: Where this is: development, test, staging, production, or what a seeder names; LAYERED_ENV unless
                given, else development.
            dry_run: Write nothing, and report what would become of each row.
            atomic: Let one failure undo all; otherwise it undoes its own seeder, and those that depend on it are skipped.
            allow_deletes: Delete retired rows in production too.
            database: Where to seed; the runner's own unless given.
            progress: Called when a seeder begins, after each batch of its rows, and when it ends. It must be quick, and
                should it raise, that is logged.

        Raises:
            SeedPlanError: The seeders do not fit together, or something is asked for that is not there.
            UnitOfWorkError: The running task has a unit of work of the same database open, or there is no database.
        """
        options = Options(dry_run, atomic, allow_deletes, self._lock_timeout, progress)
        run = self._run(self.plan(only=only, tags=tags, environment=environment), database, options)
        delay: float | None = 0
        while delay is not None:
            await asyncio.sleep(delay)
            uow = run.unit_of_work()
            try:
                async with uow:
                    await run.attempt(uow)
            except Exception as error:  # noqa: BLE001  # it is in the report, whatever it is
                delay = run.after(error, uow.outcome)
            else:
                delay = None
        return run.report

    def run_sync(
        self,
        *,
        only: Iterable[str | SeederClass] | None = None,
        tags: Iterable[str] | None = None,
        environment: str | None = None,
        dry_run: bool = False,
        atomic: bool = False,
        allow_deletes: bool = False,
        database: Database | None = None,
        progress: Callable[[SeedProgress], object] | None = None,
    ) -> SeedReport:
        """Do what `run` does, without an event loop, through the synchronous driver."""
        options = Options(dry_run, atomic, allow_deletes, self._lock_timeout, progress)
        run = self._run(self.plan(only=only, tags=tags, environment=environment), database, options)
        delay: float | None = 0
        while delay is not None:
            time.sleep(delay)
            uow = run.unit_of_work()
            try:
                with uow:
                    drive(run.attempt(uow))
            except Exception as error:  # noqa: BLE001  # it is in the report, whatever it is
                delay = run.after(error, uow.outcome)
            else:
                delay = None
        return run.report

    async def export(
        self, seeder: str | SeederClass, *, without: Iterable[str] = (), database: Database | None = None
    ) -> list[dict[str, Any]]:
        """Return all stored rows of a seeder's mapped class, in types of JSON, as a seed file has them.

        Natural keys stand in place of foreign keys: `{"ref": ["CategorySeeder", "drinks"]}` is what `ref(CategorySeeder,
        "drinks")` is in Python. Keys that are counted up or have a default, versions, discriminators, stamps and computed
        columns are left out. Every other column is written as it is stored: look for secrets before you share the rows.

        Args:
            seeder: The seeder's name, or its class.
            without: The names of attributes to leave out.
            database: Where to read; the runner's own unless given.

        Returns:
            The rows, sorted by key, each with its key first.

        Raises:
            SeedPlanError: There is no such seeder, it has no key, or *without* names no attribute that can be left out.
            SeedDataError: A file cannot hold a value, or a reference cannot be named.
        """
        (chosen,) = seeders_named([seeder], self.seeders)
        async with UnitOfWork(self._chosen(database), read_only=True) as uow:
            return await Export(chosen, self.seeders, uow.session, without).rows()

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run the seeders that the command line names, or all, print the report and end the process: `python -m shop.seeds`.

        The exit status is 0 if all is well, 1 if something failed, 2 if something was asked for that is not there.

        Args:
            arguments: The names; those of the command line unless given.
        """
        names = list(sys.argv[1:] if arguments is None else arguments)
        try:
            report = asyncio.run(self._run_and_dispose(names))
        except SeedError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(2)
        sys.stdout.write(f"{report}\n")
        sys.exit(0 if report.ok else 1)

    async def _run_and_dispose(self, names: Sequence[str]) -> SeedReport:
        async with self.database:
            return await self.run(only=names or None)

    def _run(self, plan: Plan, database: Database | None, options: Options) -> Run:
        chosen = self._chosen(database)
        if open_in_this_task(chosen) is not None:
            raise UnitOfWorkError(
                "seeding inside an open unit of work of the same database would wait for that one; do it outside the block"
            )
        return Run(plan, chosen, options, self._found[1])

    def _chosen(self, database: Database | None) -> Database:
        chosen = database or self._database
        if chosen is None:
            raise UnitOfWorkError(
                "the runner has no database; write SeedRunner(..., database=database), or run(database=...)"
            )
        return chosen
