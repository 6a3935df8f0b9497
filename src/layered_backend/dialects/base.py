"""What every database must tell the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sqlalchemy import URL, Column, ColumnElement, Connection, Dialect, Engine, Insert, Table, delete, insert, tuple_
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.types import REAL, Enum, Float, Integer, String, TypeEngine

from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.rows import Rows
from layered_backend.dialects.sort_forms import SortForm, as_stored, stored_type
from layered_backend.dialects.tuples import inserted_as_tuples, upsert_each, upserted_as_tuples
from layered_backend.errors import LayeredError

__all__ = ["INT64", "NO_DATABASE", "NO_FILE", "REFUSED", "Closeable", "DatabaseDialect", "Reading"]

_SINGLE_PRECISION = 24  # bits

INT64 = range(-(2**63), 2**63)

# What a database that cannot be reached has said for good: it will say so again.
REFUSED = "the database refuses the credentials"
NO_DATABASE = "the server has no such database"
NO_FILE = "the database file cannot be opened"


class Closeable(Protocol):
    """What is let go by `close()`."""

    def close(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """A driver's error, read: what kind it is and what it is about.

    Attributes:
        error: The class to raise.
        constraint: The constraint's name in the database, where the driver tells it.
        table: The table that owns the constraint, where the driver tells it.
        columns: The columns that the constraint covers, where the driver tells them.
        sentence: What to say where the error's own sentence is too general; free of names and values.
        is_outcome_unknown: Whether the server itself says that the statement, or COMMIT, may have been carried out.
    """

    error: type[LayeredError]
    constraint: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()
    sentence: str = ""
    is_outcome_unknown: bool = False


class DatabaseDialect(ABC):
    """One database's ways: how it is connected to, how its errors read, how it locks.

    Stateless; one instance serves every engine of its kind.
    """

    async_driver: ClassVar[str]
    """The driver of `postgresql+DRIVER://` for asynchronous use, and when the URL names none."""

    sync_driver: ClassVar[str]
    """The driver for synchronous use, when the URL names none or an asynchronous one."""

    async_only: ClassVar[frozenset[str]] = frozenset()
    """Drivers that cannot be used synchronously; `sync_driver` stands in for them."""

    has_one_writer: ClassVar[bool] = False
    """Whether a transaction that may write waits for every other one to end."""

    undoing_all: ClassVar[tuple[type[LayeredError], ...]] = ()
    """The errors after which the whole transaction is undone, its savepoints included."""

    answers_every_commit: ClassVar[bool] = False
    """Whether an error at COMMIT always tells that nothing is saved, as there is no connection to be lost."""

    streams_alone: ClassVar[bool] = False
    """Whether a connection that a result is streamed from can do nothing else meanwhile."""

    nulls_are_greatest: ClassVar[bool] = False
    """Whether ORDER BY takes NULL for greater than every value, or for less."""

    seeks_by_row: ClassVar[bool] = True
    """Whether `(a, b) > (1, 2)` reads no more of an index than it must."""

    seeks_past_ties: ClassVar[bool] = True
    """Whether `(a, b) > (1, 2)` reads none of the rows that are equal to that."""

    sorts_by_fixed_nulls: ClassVar[bool] = False
    """Whether an index serves `a IS NULL` only where ORDER BY has `a` in it, or only where it has not."""

    fixes_by_range: ClassVar[bool] = False
    """Whether an index serves what is sorted behind `a = 1` only where that is `a >= 1 AND a <= 1`, and sorted by."""

    parameter_limit: ClassVar[int] = 32_766
    """How many values a statement can take."""

    counts_on_by_row: ClassVar[bool] = False
    """Whether a key that is given, rather than counted up, is counted on from when its row is written, and not before."""

    upserts_by_any_key: ClassVar[bool] = False
    """Whether an upsert goes by every unique key of the table, whichever it was asked to go by."""

    limits_statements: ClassVar[bool] = False
    """Whether the database itself can end a statement that takes too long."""

    extra: ClassVar[str]
    """The extra of this package that installs the drivers."""

    def effective_url(self, url: URL) -> URL:
        """Return the URL to connect to where it is not *url* itself."""
        return url

    def engine_options(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        """Return the arguments of `create_engine` that this database needs; the caller's own override them."""
        return {}

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        """Return the arguments of the driver's `connect` that PgBouncer in transaction pooling mode asks for.

        Raises:
            ValueError: PgBouncer does not stand before this database, or the driver is not known here.
        """
        raise ValueError(f"pgbouncer=True is for postgresql://, not for {url.get_backend_name()}://")

    def connect_timeout_arguments(self, url: URL, seconds: float) -> Mapping[str, Any]:
        """Return the arguments of the driver's `connect` that give it so many *seconds*; none where it never waits.

        Raises:
            ValueError: The driver is not known here.
        """
        return {}

    def limit_statements(self, engine: Engine, seconds: float) -> None:  # noqa: B027  # see `limits_statements`
        """Have the database end each statement of *engine*'s connections that takes more than so many *seconds*."""

    def is_in_memory(self, url: URL) -> bool:
        """Tell whether the database lives in this process alone, and with its connections."""
        return False

    def keep_alive(self, url: URL) -> Closeable | None:
        """Return what keeps the database in existence while no pooled connection is open, or None."""
        return None

    def configure(self, engine: Engine) -> None:  # noqa: B027  # most need none
        """Attach the listeners that this database needs to *engine*."""

    def abandon(self, engine: Engine) -> None:
        """Let go of the pooled connections of *engine*, whose event loop is closed."""
        engine.dispose(close=False)

    def transaction_options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        """Return the execution options that make a transaction read-only, deferred or isolated as asked.

        Args:
            read_only: Refuse writes.
            deferred: Take the write lock at the first write, not at the beginning (only SQLite knows the difference).
            isolation_level: The SQL name, as SQLAlchemy takes it; None keeps the engine's.
        """
        return {"isolation_level": isolation_level} if isolation_level else {}

    def reading_alone(self, engine: Engine) -> Engine | None:
        """Return what to read with before a transaction has begun, where a read needs none.

        Its connections refuse what does need one with TransactionNeededError. None where every read is in the transaction.
        """
        return None

    def awaits_end(self, connection: Connection) -> bool:
        """Tell whether the end of *connection*'s transaction makes a difference to the database.

        It does not where BEGIN was never sent, or where nothing was changed and nobody need wait for the end.
        """
        return True

    def has_refused_to_begin(self, connection: Connection) -> bool:
        """Tell, after an error, whether the statement was not carried out because the transaction could not begin."""
        return False

    def has_ended_transaction(self, connection: Connection) -> bool:
        """Tell, after an error, whether the transaction of *connection* is no more, and a statement would be outside of it."""
        return False

    def autocommit_options(self) -> Mapping[str, Any]:
        """Return the arguments of `create_engine` under which each statement is a transaction of its own."""
        return {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}

    @abstractmethod
    def read(self, error: BaseException) -> Reading | None:
        """Return what the driver's *error* means, or None for one that has no class here (bad SQL, a missing table)."""

    def probe(self, context: ExceptionContext, reading: Reading) -> Reading:
        """Find out by asking the database what the driver left out of *reading*, while the error is handled."""
        return reading

    @abstractmethod
    def upsert(
        self,
        table: Table,
        on: Sequence[Column[Any]],
        changes: Callable[[Any], Mapping[Column[Any], Any]],
        condition: ColumnElement[bool] | None,
    ) -> Insert:
        """Return the statement that inserts a row, or changes the one that has the same key.

        Args:
            table: Where to insert.
            on: The columns of the key.
            changes: From the row that could not be inserted, a collection of columns, to what to change.
            condition: What the row that is there must meet to be changed; None for nothing.
        """

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        """Insert *rows*."""
        if rows.size == 1 or not inserted_as_tuples(connection, rows):
            connection.execute(insert(rows.table), rows.mappings())

    def upsert_rows(self, connection: Connection, statement: Insert, on: Sequence[Column[Any]], rows: Rows) -> None:
        """Execute *statement*, which `upsert` returned for the key *on*, once for each of *rows*.

        No two of them have the same key, as far as Python can tell.
        """
        if rows.size == 1 or not upserted_as_tuples(connection, statement, rows):
            upsert_each(connection, statement, rows)

    def among(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        """Return the criterion of the rows whose *key*, one column or several, is one of *identities*, none of them NULL."""
        given = self.given_keys(key)
        criterion = None if given is None else given.criterion_of(identities)
        if criterion is not None:
            return criterion
        if len(key) == 1:
            return key[0].in_([identity[0] for identity in identities])
        return tuple_(*key).in_(identities)

    def given_keys(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        """Return the same criterion for a statement that is kept; None where it depends on how many keys there are."""
        return None

    def sorted_with_nulls(
        self, expression: ColumnElement[Any], *, is_descending: bool, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return what to write behind ORDER BY for an expression that can be NULL.

        What the database does by itself is not written out, so that an index serves.
        """
        direction = expression.desc() if is_descending else expression.asc()
        if self.places_nulls(is_descending=is_descending, nulls_first=nulls_first):
            return (direction,)
        return self.with_nulls_placed(expression, direction, nulls_first=nulls_first)

    def places_nulls(self, *, is_descending: bool, nulls_first: bool) -> bool:
        """Tell whether the database puts NULL there by itself."""
        return nulls_first == (is_descending == self.nulls_are_greatest)

    def with_nulls_placed(
        self, expression: ColumnElement[Any], direction: ColumnElement[Any], *, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        """Return *direction*, of *expression*, with NULL where the database itself would not put it."""
        return (direction.nulls_first() if nulls_first else direction.nulls_last(),)

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return in what form rows are compared with a place in the order of *expression*.

        Args:
            expression: What is sorted by.
            dialect: SQLAlchemy's.

        Raises:
            TypeError: The database sorts values of that type as they cannot be compared.
        """
        return as_stored(expression, stored_type(expression.type, dialect))

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        """Tell whether a column of *column_type* could hold *value*, so that no statement need fail to find out."""
        if isinstance(column_type, Integer):
            return isinstance(value, int) and value in self.integers(column_type)
        if isinstance(column_type, String) and not isinstance(column_type, Enum):
            return isinstance(value, str) and _is_encodable(value)
        return True

    def integers(self, column_type: Integer) -> range:
        """Return the integers that a column of *column_type* can hold."""
        return INT64

    @abstractmethod
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
        return False

    def check_deferred(self, connection: Connection, tables: Collection[Table]) -> None:  # noqa: B027  # most need none
        """Check now the deferred constraints of *tables*, which were written, instead of at COMMIT.

        Raises:
            LayeredError: One is violated.
        """

    def check_at_commit(self, connection: Any) -> None:  # noqa: B027  # most need none
        """Check now, for a transaction inside another one, all that is else checked at COMMIT.

        Args:
            connection: The driver's, as SQLAlchemy adapts it.

        Raises:
            Exception: The driver's error, as COMMIT would raise it.
        """

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Delete all rows of *tables*, each of which comes after those that it refers to."""
        for table in reversed(tables):
            connection.execute(delete(table))

    def advance_sequence(self, connection: Connection, column: Column[Any], value: int) -> None:  # noqa: B027
        """See to it that the key which *column* counts up next is greater than *value*, whoever inserts meanwhile."""

    def stored_form(self, column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
        """Return what makes of a value the form that it is compared in, where a column gives back less than it got.

        Args:
            column_type: The column's type, as it is declared.
            dialect: SQLAlchemy's.

        Returns:
            A function that both the value written and the value read go through, or None where values come back whole.
        """
        return _in_single_precision if self.is_single_precision(column_type.dialect_impl(dialect)) else None

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        """Tell whether a column keeps floating-point numbers in 4 bytes."""
        precision = column_type.precision if isinstance(column_type, Float) else None
        return isinstance(column_type, REAL) or (precision is not None and precision <= _SINGLE_PRECISION)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _in_single_precision(value: float) -> float:
    return float(f"{value:.6g}")  # the digits that 4 bytes keep of any decimal number
