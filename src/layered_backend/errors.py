"""Every exception of the library.

    LayeredError
    ├── NotFoundError
    ├── MultipleFoundError
    ├── ConflictError
    │   ├── UniqueViolationError
    │   ├── ForeignKeyViolationError
    │   └── StaleError
    ├── InvalidDataError
    │   ├── NotNullViolationError
    │   ├── CheckViolationError
    │   ├── UnknownFieldError
    │   └── InvalidCursorError
    ├── PermissionDeniedError
    ├── UnauthenticatedError
    ├── PreconditionFailedError
    ├── PreconditionRequiredError
    ├── UnitOfWorkError
    │   ├── RolledBackError
    │   ├── ConcurrentUseError
    │   ├── FinishedError
    │   └── ReadOnlyError
    ├── TransientError
    │   ├── SerializationFailureError
    │   ├── DeadlockError
    │   └── LockTimeoutError
    ├── StatementTimeoutError
    ├── DatabaseUnavailableError
    ├── CommitUnknownError
    ├── UnsupportedVersionError
    ├── SettingsError
    ├── MigrationError
    │   └── MigrationSetupError
    └── SeedError
        ├── SeedPlanError
        ├── SeedDataError
        │   └── SeedReferenceError
        ├── SeedImportError
        └── SeedDeletionError

An error carries its facts as attributes and renders them in `str()`. No message holds SQL, a secret or a value of a
row: those stay in the driver's error, which is the `__cause__`. (A `SeedDataError` names the natural key of a row that the
application ships with its own source.) None of them knows HTTP; `layered_backend.fastapi` maps them to statuses.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

__all__ = [
    "CheckViolationError",
    "CommitUnknownError",
    "ConcurrentUseError",
    "ConflictError",
    "DatabaseUnavailableError",
    "DeadlockError",
    "FinishedError",
    "ForeignKeyViolationError",
    "InvalidCursorError",
    "InvalidDataError",
    "LayeredError",
    "LockTimeoutError",
    "MigrationError",
    "MigrationSetupError",
    "MultipleFoundError",
    "NotFoundError",
    "NotNullViolationError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "PreconditionRequiredError",
    "ReadOnlyError",
    "RolledBackError",
    "SeedDataError",
    "SeedDeletionError",
    "SeedError",
    "SeedImportError",
    "SeedPlanError",
    "SeedReferenceError",
    "SerializationFailureError",
    "SettingsError",
    "StaleError",
    "StatementTimeoutError",
    "TransientError",
    "UnauthenticatedError",
    "UniqueViolationError",
    "UnitOfWorkError",
    "UnknownFieldError",
    "UnsupportedVersionError",
]


class LayeredError(Exception):
    """The root of every error that the library raises on purpose.

    Attributes:
        index: The place, from 0, of the row that the error is about, among those that a write of many rows was given; None
            for other calls, and where it is not known.
    """

    default_message: ClassVar[str] = ""
    index: int | None = None

    def __str__(self) -> str:
        return super().__str__() or self.default_message


class NotFoundError(LayeredError):
    """No row has the identity that was asked for.

    Attributes:
        entity: Name of the mapped class.
        identity: The key that was asked for; None when the search was by criteria.
    """

    def __init__(self, entity: str, identity: object = None) -> None:
        super().__init__(entity, identity)
        self.entity = entity
        self.identity = identity

    def __str__(self) -> str:
        if self.identity is None:
            return f"no {self.entity} matches"
        return f"{self.entity} {self.identity!r} does not exist"


class MultipleFoundError(LayeredError):
    """Several rows match where at most one may.

    Attributes:
        entity: Name of the mapped class.
    """

    def __init__(self, entity: str) -> None:
        super().__init__(entity)
        self.entity = entity

    def __str__(self) -> str:
        return f"more than one {self.entity} matches; narrow the criteria or use list()"


class _ReportedError(LayeredError):
    """A report of the database, in the names of the metadata.

    Attributes:
        constraint: Name of the constraint; None where neither the driver nor the metadata tells.
        table: Name of the table that was written, or None.
        columns: Names of the columns that the constraint covers, or an empty tuple.
    """

    def __init__(
        self,
        message: str = "",
        *,
        constraint: str | None = None,
        table: str | None = None,
        columns: tuple[str, ...] = (),
    ) -> None:
        self.constraint = constraint
        self.table = table
        self.columns = columns
        super().__init__(message or self._sentence())

    @property
    def _column_list(self) -> str:
        return " and ".join(self.columns)

    def _sentence(self) -> str:
        """Return the sentence for an error that was raised without one of its own."""
        return type(self).__name__


class ConflictError(_ReportedError):
    """The request contradicts what is stored. Services raise it too, with a sentence of their own."""

    def _sentence(self) -> str:
        return "the request contradicts what is stored"


class UniqueViolationError(ConflictError):
    """Another row already has this value (a unique constraint, unique index or primary key)."""

    def _sentence(self) -> str:
        if not self.columns:
            return "another row already has the same value"
        return f"another row already has the same {self._column_list}"


class ForeignKeyViolationError(ConflictError):
    """A reference points to no row, or the row is still referred to.

    Attributes:
        is_referred_to: Whether it is the row that is referred to, and so cannot go; None where that is not known.
    """

    def __init__(
        self,
        message: str = "",
        *,
        constraint: str | None = None,
        table: str | None = None,
        columns: tuple[str, ...] = (),
        is_referred_to: bool | None = None,
    ) -> None:
        self.is_referred_to = is_referred_to
        super().__init__(message, constraint=constraint, table=table, columns=columns)

    def _sentence(self) -> str:
        referring = f"the value of {self._column_list}" if self.columns else "a reference"
        if self.is_referred_to is None:
            return f"{referring} refers to a row that does not exist, or the row is still referred to"
        return "the row is still referred to" if self.is_referred_to else f"{referring} refers to no row"


class StaleError(ConflictError):
    """The row was changed or deleted since it was read (Fowler, PoEAA: Optimistic Offline Lock)."""

    def _sentence(self) -> str:
        return "the row was changed or deleted since it was read; read it again"


class InvalidDataError(_ReportedError):
    """The data cannot be stored. Services raise it too, with a sentence of their own."""

    def _sentence(self) -> str:
        return "a value does not fit its column"


class NotNullViolationError(InvalidDataError):
    """A column that needs a value got none."""

    def _sentence(self) -> str:
        return f"a value is needed for {self._column_list or 'a column'}"


class CheckViolationError(InvalidDataError):
    """A value breaks a check constraint."""

    def _sentence(self) -> str:
        return (
            f"the data breaks the rule {self.constraint}" if self.constraint else "the data breaks a rule of its table"
        )


class UnknownFieldError(InvalidDataError):
    """The data names a field that the mapped class does not have.

    Attributes:
        entity: Name of the mapped class.
        field: The name that is unknown.
        known: The names that exist, sorted.
    """

    def __init__(self, entity: str, field: str, known: Collection[str] = ()) -> None:
        self.entity = entity
        self.field = field
        self.known: list[str] = sorted(known)
        super().__init__()
        self.args: tuple[object, ...] = (entity, field, self.known)

    def __str__(self) -> str:
        return self._sentence()

    def _sentence(self) -> str:
        nearest = difflib.get_close_matches(self.field, self.known, n=1, cutoff=0.5)
        tip = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(self.known)}"
        return f"{self.entity} has no field {self.field!r}; {tip}"


class InvalidCursorError(InvalidDataError):
    """The cursor of a page is broken, or was made for another sort or filter."""

    def _sentence(self) -> str:
        return "the cursor is broken or was made for another sort or filter; begin again without one"


class PermissionDeniedError(LayeredError):
    """The actor is known and may not do this.

    Attributes:
        scopes: The scopes that it takes; empty where it is no matter of scopes.
    """

    default_message = "permission denied"

    def __init__(self, message: str = "", *, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.scopes = scopes


class UnauthenticatedError(LayeredError):
    """The actor is not known: credentials are missing or not valid.

    Attributes:
        scopes: The scopes that it takes, where they are known.
        is_refused: Whether there are credentials, and they are not valid.
    """

    default_message = "not authenticated"

    def __init__(self, message: str = "", *, scopes: tuple[str, ...] = (), is_refused: bool = False) -> None:
        super().__init__(message)
        self.scopes = scopes
        self.is_refused = is_refused


class PreconditionFailedError(LayeredError):
    """The row is no longer in the state that the caller named (an `If-Match` that does not match)."""

    default_message = "the row has changed since it was read"


class PreconditionRequiredError(LayeredError):
    """The operation needs the caller to name the state it expects, and the caller did not."""

    default_message = "the expected state of the row must be named"


class UnitOfWorkError(LayeredError):
    """A unit of work is used in a way that it cannot honour; the message says what to write instead."""


class RolledBackError(UnitOfWorkError):
    """The work was undone although the block ended normally; nothing of it was saved. The first error is the cause."""


class ConcurrentUseError(UnitOfWorkError):
    """Two tasks used one unit of work at the same time."""


class FinishedError(UnitOfWorkError):
    """The unit of work has ended; its session, repositories and services can no longer be used."""


class ReadOnlyError(UnitOfWorkError):
    """A unit of work that was opened with `read_only=True` was asked to write."""


class TransientError(_ReportedError):
    """The database undid the work for a reason that passes; running it again may succeed (see `transact`)."""

    def _sentence(self) -> str:
        return "the database was busy with a conflicting transaction; try again"


class SerializationFailureError(TransientError):
    """Concurrent transactions could not be put into one order."""


class DeadlockError(TransientError):
    """Two transactions waited for each other and the database chose this one to give way."""


class LockTimeoutError(TransientError):
    """A lock was not granted in time."""


class StatementTimeoutError(_ReportedError):
    """The database stopped a statement: it took longer than the database allows, or somebody had it stopped.

    Running it again would take as long, so `transact` does not.
    """

    def _sentence(self) -> str:
        return "the database stopped a statement that took too long"


class DatabaseUnavailableError(_ReportedError):
    """The database cannot be reached, broke the connection, or no pooled connection became free in time."""

    def _sentence(self) -> str:
        return "the database is not available"


class CommitUnknownError(LayeredError):
    """The connection was lost during COMMIT: the work may or may not be saved, and only the database knows.

    It is never retried for you. Read the data again before you decide.
    """

    default_message = "the connection was lost during COMMIT; whether the work is saved is not known"


class UnsupportedVersionError(LayeredError):
    """An installed package lacks what a guarantee of this library rests on.

    Attributes:
        package: The package's name on PyPI.
        installed: Its installed version.
        missing: What it lacks.
        tested: The releases that have it.
    """

    def __init__(self, package: str, installed: str, missing: Sequence[str], tested: str) -> None:
        super().__init__(package, installed, missing, tested)
        self.package = package
        self.installed = installed
        self.missing = missing
        self.tested = tested

    def __str__(self) -> str:
        return (
            f"{self.package} {self.installed} has no {', '.join(self.missing)}, which this library relies on; "
            f"install {self.package} {self.tested}"
        )


class SettingsError(LayeredError):
    """Variables that the process is set up with are missing or wrong. No value of theirs is in it.

    Attributes:
        problems: What is wrong, and what to do, by the name of the variable; by an empty name where it is several's.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems: dict[str, str] = dict(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "; ".join(f"{variable} {problem}".strip() for variable, problem in self.problems.items())


class MigrationError(LayeredError):
    """The migrations could not be run, or compared; the message says which one, and what is left of it."""


class MigrationSetupError(MigrationError):
    """There are no migrations where they are looked for, or none of that name; nothing has begun."""


class SeedError(LayeredError):
    """Something is wrong with what is to be seeded; nothing of the seeder, or of the run, that it names is written."""


class SeedPlanError(SeedError):
    """The seeders do not fit together, or the run was asked for something that is not there; nothing has begun."""


class SeedImportError(SeedError):
    """A module of seeders could not be imported; what it raised is the cause."""


class SeedDeletionError(SeedError):
    """In production, the run would delete rows, and nobody has said that it may."""


class SeedDataError(SeedError):
    """A row to be seeded, or the file that it comes from, is wrong.

    Attributes:
        reason: What is wrong, without the place.
        seeder: Name of the seeder; empty while it is not known.
        source: Name of the file that the row comes from, or None.
        row: Number of the row, from 1, or None where the fault is not in a row.
        column: Name of the column, or None.
        key: The row's natural key, as text, or None where it is not known.
    """

    def __init__(
        self,
        reason: str,
        *,
        seeder: str = "",
        source: str | None = None,
        row: int | None = None,
        column: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seeder = seeder
        self.source = source
        self.row = row
        self.column = column
        self.key = key

    def __str__(self) -> str:
        row = None if self.row is None else f"row {self.row}" + (f" ({self.key})" if self.key else "")
        column = self.column and f"column {self.column}"
        place = ", ".join(filter(None, (self.seeder, self.source, row, column)))
        return f"{place}: {self.reason}" if place else self.reason


class SeedReferenceError(SeedDataError):
    """A row refers to one that is neither shipped nor stored, or to a seeder that its own does not depend on."""
