"""One run of env.py, from a command's request to what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from layered_backend.errors import LayeredError, MigrationError, MigrationSetupError
from layered_backend.migrations.folder import configuration
from layered_backend.migrations.report import NO_MODELS, Revision
from layered_backend.migrations.request import Request
from layered_backend.upstream.alembic import RevisionStep, commits_all_or_nothing, steps_down, steps_up, verify_alembic

__all__ = ["Run"]

Heads = tuple[str, ...]
Act = Callable[[Heads, MigrationContext], Iterable[RevisionStep]]

_alone = threading.Lock()
"""Held while env.py runs: what Alembic lends to it and to the revisions is global."""


def _require_begun(request: Request) -> None:
    """Refuse an env.py that calls Alembic itself.

    Raises:
        MigrationSetupError: It has not come to `run_migrations`.
    """
    if not request.has_begun:
        raise MigrationSetupError("env.py does not call run_migrations(database, Base.metadata)")


class Run:
    """A run. Lives as long as the command.

    Args:
        request: What is asked for.
        folder: The folder of the migrations, or None for the one that is configured.

    Raises:
        MigrationSetupError: There is no such folder.
        UnsupportedVersionError: The installed Alembic lacks something that this library relies on.
    """

    def __init__(self, request: Request, folder: str | Path | None) -> None:
        verify_alembic()
        self._request = request
        self.config: Config = configuration(folder)
        request.attach(self.config.attributes)
        try:
            self.scripts: ScriptDirectory = ScriptDirectory.from_config(self.config)
        except CommandError as error:
            raise MigrationSetupError(str(error)) from error
        self.done: list[Revision] = []
        self._running: tuple[Revision, MigrationContext] | None = None

    def act(self, act: Act, **options: Any) -> None:
        """Run env.py, and have it carry out the steps that *act* returns for the revisions that the database is at.

        Args:
            act: Given the revisions and Alembic's context, what to do; it may look at the database itself, and return none.
            options: What `EnvironmentContext` is to hand on to env.py.

        Raises:
            LayeredError: It has failed.
        """
        # Unless run_migrations says otherwise, Alembic writes nothing: not even its table, which comes before any step.
        options["dont_mutate"] = True
        environment = EnvironmentContext(self.config, self.scripts, fn=self._followed(act), as_sql=False, **options)
        with self.failures_told(), environment:
            self.scripts.run_env()
            _require_begun(self._request)

    def require_models(self) -> None:
        """Refuse to compare a database with no models at all, of which only DROP TABLE can come.

        Raises:
            MigrationSetupError: env.py has imported none.
        """
        if not self._request.has_models:
            raise MigrationSetupError(f"there are no models to compare: {NO_MODELS}")

    def verify_environment(self) -> None:
        """Run env.py without the database.

        Raises:
            MigrationSetupError: It is not one that calls `run_migrations`.
        """
        self._request.connects = False
        self.act(lambda _heads, _context: ())

    def steps_up(self, revision: str, heads: Heads) -> Sequence[RevisionStep]:
        """Return the steps from *heads* up to *revision*, the next one first."""
        return steps_up(self.scripts, revision, heads)

    def steps_down(self, revision: str, heads: Heads) -> Sequence[RevisionStep]:
        """Return the steps from *heads* down to *revision*, the newest first."""
        return steps_down(self.scripts, revision, heads)

    def _followed(self, act: Act) -> Act:
        """Return *act*, with each of its steps remembered while it is carried out, and when it is."""

        def followed(heads: Heads, context: MigrationContext) -> Iterator[RevisionStep]:
            _require_begun(self._request)
            self._refuse_unknown(heads)
            for step in act(heads, context):
                revision = Revision.of(step.revision)
                self._running = revision, context
                yield step
                self._running = None
                self.done.append(revision)

        return followed

    def _refuse_unknown(self, heads: Heads) -> None:
        for head in heads:
            try:
                self.scripts.get_revision(head)
            except CommandError as error:
                raise MigrationError(
                    f"the database is at revision {head}, which {self.scripts.dir} does not have: a newer release of the "
                    "application has migrated it, or the file is missing"
                ) from error

    @contextmanager
    def failures_told(self) -> Generator[None]:
        """Let nothing else run env.py meanwhile, and raise what goes wrong as an error of this library."""
        with _alone:
            try:
                yield
            except Exception as error:
                raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        """Return the error that tells of *error*, which is itself where it does."""
        if self._running is not None:
            return MigrationError(_failure_of(*self._running, error))
        if isinstance(error, LayeredError) or _tells_what_to_install(error):
            return error
        if not self._request.has_begun:
            return MigrationSetupError(f"env.py cannot be run ({type(error).__name__}: {error})")
        if isinstance(error, SQLAlchemyError):
            return MigrationError(f"the database refuses: {_cause_of(error)}")
        if isinstance(error, CommandError):
            return MigrationSetupError(str(error))
        return MigrationSetupError(f"the revisions cannot be read ({type(error).__name__}: {error})")


def _tells_what_to_install(error: Exception) -> bool:
    return isinstance(error, ModuleNotFoundError) and "pip install" in str(error)


def _failure_of(revision: Revision, context: MigrationContext, error: BaseException) -> str:
    """Return what to tell of *revision*, which has failed with *error*."""
    return f"revision {revision} failed: {_cause_of(error)}; {_rest_of(revision, context)}"


def _rest_of(revision: Revision, context: MigrationContext) -> str:
    if commits_all_or_nothing(context):
        return "its transaction is rolled back"
    name = "MariaDB" if getattr(context.dialect, "is_mariadb", False) else "the database"
    return (
        f"{name} commits each change of a table at once, so what the revision has changed before is still there, now or from "
        f"an earlier attempt: undo it by hand, or do the rest by hand and run `alembic stamp {revision.id}`"
    )


def _cause_of(error: BaseException) -> str:
    """Return what *error* says, in one line, without the statement.

    A translated error holds no values. What is left untranslated is about tables, not about rows.
    """
    if isinstance(error, LayeredError):
        return str(error)
    said = str(error.orig) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}"
    first, *_ = said.splitlines() or [""]
    return first.partition(" near '")[0]  # behind it, MariaDB quotes the statement
