"""The protocols of a dialect: one for each caller.

`layered_backend.dialects.portable` implements each of them in a way that is right for every database, and often slower. A
dialect replaces the parts, and in them the methods, that its database has something better for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import URL, Column, ColumnElement, Connection, Dialect, Engine, Table
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.types import Float, Numeric, TypeEngine

from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.reading import Reading
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.dialects.sort_forms import SortForm
from layered_backend.errors import LayeredError

__all__ = [
    "Closeable",
    "Connections",
    "Errors",
    "Keys",
    "Locks",
    "Migrations",
    "Ordering",
    "Transactions",
    "Values",
    "Writing",
]


class Closeable(Protocol):
    """An object that is let go by `close()`."""

    def close(self) -> object: ...


class Connections(Protocol):
    """How connections are opened and set up. `Database` and the settings call it."""

    async_driver: str
    """The driver of `name+DRIVER://` for asynchronous use, when the URL names none."""

    sync_driver: str
    """The driver for synchronous use, when the URL names none or an asynchronous one."""

    async_only: frozenset[str]
    """Drivers that cannot be used synchronously; `sync_driver` stands in for them."""

    requirement: str
    """The package to install for the drivers, as `pip install` takes it: `layered-backend[sqlite]`."""

    has_statement_timeout: bool
    """Whether the database itself can end a statement that takes too long."""

    def effective_url(self, url: URL) -> URL:
        """Return the URL to connect to where it is not *url* itself."""
        ...

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        """Return the arguments of `create_engine` that this database needs; the caller's own override them."""
        ...

    def autocommit_options(self) -> Mapping[str, Any]:
        """Return the arguments of `create_engine` under which each statement is a transaction of its own."""
        ...

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        """Return the arguments of the driver's `connect` that PgBouncer in transaction pooling mode asks for.

        Raises:
            ValueError: PgBouncer does not stand before this database, or the driver is not known here.
        """
        ...

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        """Return the arguments of the driver's `connect` that give it so many *seconds*; none where it never waits.

        Raises:
            ValueError: The driver is not known here.
        """
        ...

    def limit_statements(self, engine: Engine, seconds: float) -> None:
        """Have the database end each statement of *engine*'s connections that takes more than so many *seconds*."""
        ...

    def is_in_memory(self, url: URL) -> bool:
        """Tell whether the database lives in this process alone, and with its connections."""
        ...

    def keep_alive(self, url: URL) -> Closeable | None:
        """Return what keeps the database in existence while no pooled connection is open, or None."""
        ...

    def configure(self, engine: Engine) -> None:
        """Attach the listeners that this database needs to *engine*.

        Raises:
            UnsupportedVersionError: The driver lacks what a guarantee rests on.
        """
        ...

    def abandon(self, engine: Engine) -> None:
        """Let go of the pooled connections of *engine*, whose event loop is closed."""
        ...


class Transactions(Protocol):
    """How transactions begin, what undoes them and how they end. The session and the unit of work call it."""

    has_one_writer: bool
    """Whether a transaction that may write waits for every other one to end."""

    undoing_all: tuple[type[LayeredError], ...]
    """The errors after which the whole transaction is undone, its savepoints included."""

    answers_every_commit: bool
    """Whether an error at COMMIT always tells that nothing is saved, as there is no connection to be lost."""

    streams_alone: bool
    """Whether a connection that a result is streamed from can do nothing else meanwhile."""

    def options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        """Return the execution options that make a transaction read-only, deferred or isolated as asked.

        Args:
            read_only: Refuse writes.
            deferred: Take the write lock at the first write, not at the beginning (only SQLite knows the difference).
            isolation_level: The SQL name, as SQLAlchemy takes it; None keeps the engine's.
        """
        ...

    def commits_each_statement(self, connection: Connection) -> bool:
        """Tell, when a transaction has just begun, whether *connection* is in autocommit, so that there is none."""
        ...

    def awaits_end(self, connection: Connection) -> bool:
        """Tell whether the end of *connection*'s transaction makes a difference to the database.

        It does not where BEGIN was never sent, or where nothing was changed and nobody need wait for the end.
        """
        ...

    def has_refused_to_begin(self, connection: Connection) -> bool:
        """Tell, after an error, whether the statement was not carried out because the transaction could not begin."""
        ...

    def has_ended(self, connection: Connection) -> bool:
        """Tell, after an error, whether the transaction of *connection* is no more: a statement would be outside of it."""
        ...

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:
        """Check now the deferred constraints of *tables*, which were written, instead of at COMMIT.

        Raises:
            LayeredError: One is violated.
        """
        ...

    def check_at_commit(self, connection: Any) -> None:
        """Check now, for a transaction inside another one, all that is else checked at COMMIT.

        Args:
            connection: The driver's, as SQLAlchemy adapts it.

        Raises:
            Exception: The driver's error, as COMMIT would raise it.
        """
        ...


class Errors(Protocol):
    """How the errors of the drivers read. The session calls it."""

    def read(self, error: BaseException) -> Reading | None:
        """Return the meaning of the driver's *error*, or None if it has no class here (bad SQL, a missing table)."""
        ...

    def probe(self, context: ExceptionContext, reading: Reading) -> Reading:
        """Find out by asking the database what the driver left out of *reading*, while the error is handled."""
        ...


class Writing(Protocol):
    """How rows are written. The repository and the seeder call it."""

    upserts_by_any_key: bool
    """Whether an upsert goes by every unique key of the table, whichever it was asked to go by."""

    counts_on_by_row: bool
    """Whether the database counts on from a given key when its row is written, and cannot be told before."""

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        """Insert *rows*."""
        ...

    def upsert_rows(self, connection: Connection, rule: UpsertRule, rows: Rows) -> None:
        """Insert each of *rows*, or change the row that has the same key.

        No two of them have the same key, as far as Python can tell.
        """
        ...

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Delete all rows of *tables*, each of which comes after those that it refers to."""
        ...

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:
        """Have the key that *column* counts up next be greater than *value*, whoever inserts meanwhile."""
        ...


class Keys(Protocol):
    """How rows are asked for by many keys. The repository, projections and the seeder call it."""

    parameter_limit: int
    """How many values a statement can have."""

    def among(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        """Return the criterion of the rows whose *key*, one column or several, is one of *identities*, none of them NULL."""
        ...

    def given(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        """Return the same criterion for a statement that is kept; None where it depends on how many keys there are."""
        ...


class Ordering(Protocol):
    """How rows are sorted and sought by their place in an order. The queries call it."""

    nulls_are_greatest: bool
    """Whether ORDER BY puts NULL behind every value, or before."""

    seeks_by_row: bool
    """Whether `(a, b) > (1, 2)` reads no more of an index than it must."""

    seeks_past_ties: bool
    """Whether `(a, b) > (1, 2)` reads none of the rows that are equal to that."""

    sorts_by_fixed_nulls: bool
    """Whether an index serves `a IS NULL` only where ORDER BY has `a` in it, or only where it has not."""

    fixes_by_range: bool
    """Whether an index serves what is sorted behind `a = 1` only where that is `a >= 1 AND a <= 1`, and sorted by."""

    def sorted_with_nulls(
        self, expression: ColumnElement[Any], *, is_descending: bool, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return the clauses behind ORDER BY for an expression that can be NULL.

        What the database does by itself is not written out, so that an index serves.
        """
        ...

    def places_nulls(self, *, is_descending: bool, nulls_first: bool) -> bool:
        """Tell whether the database puts NULL there by itself."""
        ...

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return in what form rows are compared with a place in the order of *expression*.

        Args:
            expression: What is sorted by.
            dialect: SQLAlchemy's.

        Raises:
            TypeError: The database sorts values of that type as they cannot be compared.
        """
        ...


class Locks(Protocol):
    """How processes that use the same database wait for each other. `create_all`, seeding and migrations call it."""

    def lock(self, connection: Connection, name: str, timeout: float | None = None) -> None:
        """Wait for the lock *name*, shared by all processes that use this database, and hold it.

        It is given back when the transaction has ended, not sooner: what one process writes under the lock the next one
        must see. Take it before any savepoint.

        Args:
            connection: Whose transaction it is.
            name: What is locked.
            timeout: Seconds to wait for it; None to wait as long as it takes.

        Raises:
            LockTimeoutError: Another process held it all the time.
        """
        ...

    def lock_session(self, connection: Connection, name: str, timeout: float | None = None) -> bool:
        """Wait for the lock *name*, and hold it until *connection* is closed, however many transactions that takes.

        Args:
            connection: Who is to hold it; it is in no transaction, before and after.
            name: What is locked.
            timeout: Seconds to wait for it; None to wait as long as it takes.

        Returns:
            False where the database has no lock that outlives a transaction.

        Raises:
            LockTimeoutError: Another process held it all the time.
        """
        ...


class Values(Protocol):
    """How columns store values. Models, identities and the seeder call it."""

    decimal_type: Numeric[Any] | Float[Any] | None
    """The column type of an `ExactDecimal`; None for `Numeric(38, 10)`, or the variant that models.py declares."""

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        """Tell whether a column of *column_type* could hold *value*, so that no statement need fail to find out."""
        ...

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        """Return the function that brings a value into the form that it is compared in, where a column gives back less.

        Args:
            column_type: The column's type, as it is declared.
            dialect: SQLAlchemy's.

        Returns:
            A function for both the value written and the value read, or None where values come back whole.
        """
        ...

    def kept_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        """Return the function from any value to what a column keeps of it, such as a moment without fractions of a second.

        Args:
            column_type: The column's type, as it is declared.
            dialect: SQLAlchemy's.

        Returns:
            None where a column keeps all, or where only the database knows what, as with floating-point numbers.
        """
        ...


class Migrations(Protocol):
    """The set-up of a connection for a migration, and its checks. The migrations call it."""

    alters_by_copy: bool
    """Whether a table is changed by copying it, as Alembic's batches do."""

    transactional_ddl: bool | None
    """Whether a transaction undoes changes of tables; None for what Alembic knows of the database."""

    def prepare(self, connection: Connection) -> None:
        """Set up *connection*, which is in no transaction, and is closed after the migrations."""
        ...

    def prepare_dialect(self, dialect: Dialect) -> None:
        """Set up SQLAlchemy's *dialect* of an engine that only migrates."""
        ...

    def stored_default(self, connection: Connection | None, schema: str | None, table: str, column: str) -> str | None:
        """Return the default of *column* as SQL, where SQLAlchemy reads none; None if it has none."""
        ...

    def same_expressions(
        self, connection: Connection | None, expressions: tuple[str, str], column_type: str, table: str | None
    ) -> bool | None:
        """Tell whether the database takes two SQL expressions for the same.

        Args:
            connection: It may be in a transaction that only reads.
            expressions: The one that the database stores, and the one of the model.
            column_type: The type of their column, as SQL.
            table: The quoted name of the table whose columns they use, if any.

        Returns:
            None where the database cannot tell.
        """
        ...

    def descendants(self, connection: Connection) -> Collection[tuple[str | None, str]]:
        """Return the schemas and names of the tables that belong to another one: partitions, and those that inherit."""
        ...

    def checked(self, connection: Connection) -> AbstractContextManager[None]:
        """Return the block around the revisions, in their transaction.

        Raises:
            MigrationError: At the end, where they would leave something broken.
        """
        ...
