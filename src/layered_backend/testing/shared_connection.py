"""The connection that all units of work of a test share: each is a savepoint in one transaction, which is rolled back."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend.dialects import DatabaseDialect, is_read
from layered_backend.errors import ReadOnlyError, UnitOfWorkError
from layered_backend.session import guard_engine, state_of
from layered_backend.unit_of_work import UnitOfWork
from layered_backend.unit_of_work.open_units import entered_here
from layered_backend.upstream.sqlalchemy.pooling import engine_lending, rename_savepoint, share_info, verify_pooling

__all__ = ["AUTOCOMMIT", "READ_ONLY", "NestedConnection", "SharedConnection"]

AUTOCOMMIT = "layered_backend_nested_autocommit"
READ_ONLY = "layered_backend_nested_read_only"

_PATIENCE = 5.0  # seconds
_POLLING_INTERVAL = 0.005  # seconds
_OF_SAVEPOINTS = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")


class NestedConnection:
    """The connection that a pool lends in place of one of its own. Lives as long as one transaction of the code under test.

    All but the ends of the transaction goes to the driver's connection.

    Attributes:
        user: SQLAlchemy's connection, which has this one now.
        owner: The task, or thread, that began the transaction; None while there is none.
        savepoint: The savepoint that stands for the transaction; None while there is none.
        is_abandoned: Whether it was closed in the middle of its transaction, which is still to be undone.
    """

    def __init__(self, shared: SharedConnection) -> None:
        self._shared = shared
        self._keeps_all = False
        self.user: Connection | None = None
        self.owner: object = None
        self.savepoint: str | None = None
        self.is_abandoned: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared.driver, name)

    def begin(self, user: Connection, *, keeps_all: bool) -> None:
        """Begin a transaction for *user*; one that *keeps_all* does not undo what it did, as in autocommit."""
        self.user, self._keeps_all = user, keeps_all
        self._shared.enter(self)

    def commit(self) -> None:
        if self.savepoint is not None:
            self._shared.check_at_commit(self)
            self._shared.release(self)

    def rollback(self) -> None:
        if self.savepoint is None:
            return
        if self._keeps_all:
            with self._undone_on_error():
                self._shared.release(self)
        else:
            self._shared.undo(self)

    @contextmanager
    def _undone_on_error(self) -> Generator[None]:
        try:
            yield
        except self._shared.errors:  # a statement has failed, after which there is nothing to keep
            self._shared.undo(self)

    def close(self) -> None:
        self.is_abandoned = self.savepoint is not None

    terminate = close


class SharedConnection:
    """The connection of a test, and the units of work that are open on it.

    Savepoints can only nest. So a unit of work that begins beside another waits until that one has ended, unless it was
    opened inside of it; and one that is to write or to end waits for those that were opened inside of it.

    Args:
        outer: Has a transaction open, which nothing here ends.
        dialect: Of its database.

    Attributes:
        driver: The connection of the driver, as SQLAlchemy adapts it.
        errors: The class of the driver's errors.
        around_all: A unit of work that all others are inside of, whoever opens them.
    """

    def __init__(self, outer: Connection, dialect: DatabaseDialect) -> None:
        self._outer = outer
        self._dialect = dialect
        self._numbers = itertools.count(1)
        self._open: list[NestedConnection] = []  # the innermost last
        self.driver: Any = outer.connection.dbapi_connection
        self.errors: type[Exception] = outer.dialect.loaded_dbapi.Error
        self.around_all: UnitOfWork | None = None
        self._pause = _await_a_little if outer.dialect.is_async else _sleep_a_little
        self._current = asyncio.current_task if outer.dialect.is_async else threading.current_thread

    @property
    def is_idle(self) -> bool:
        """Whether no unit of work is open."""
        return not self._open

    @property
    def is_doubtful(self) -> bool:
        """Whether a statement was cut off, after which a driver may have closed the connection."""
        return any(unit.is_abandoned for unit in self._open)

    def engine(self) -> Engine:
        """Return an engine whose every transaction is a savepoint here."""
        verify_pooling()
        real = self._outer.engine
        options = {name: value for name, value in real.get_execution_options().items() if name != "isolation_level"}
        engine = engine_lending(self._lent, real, options)
        event.listen(engine.pool, "connect", self._share_info)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", self._before_statement, retval=True)
        guard_engine(engine)
        return engine

    def _lent(self) -> NestedConnection:
        return NestedConnection(self)

    def _share_info(self, connection: object, record: ConnectionPoolEntry) -> None:
        """Have what is kept with a connection, such as its locks, be kept with the one that there is."""
        share_info(record, self._outer.connection.info)

    def enter(self, unit: NestedConnection) -> None:
        """Begin the transaction of *unit*, in turn."""
        self._wait(lambda: self._may_begin(self._innermost), self._innermost_owner)
        self._drop_abandoned()
        unit.savepoint, unit.owner = f"layered_unit_{next(self._numbers)}", self._current()
        self._open.append(unit)
        self.send(f"SAVEPOINT {unit.savepoint}")

    def release(self, unit: NestedConnection) -> None:
        """End the transaction of *unit* and keep what it did."""
        self._wait_for_inner(unit)
        self.send(f"RELEASE SAVEPOINT {unit.savepoint}")
        self._forget(unit)

    def undo(self, unit: NestedConnection) -> None:
        """End the transaction of *unit* and undo what it did."""
        self._wait_for_inner(unit)
        self._roll_back(unit)

    def check_at_commit(self, unit: NestedConnection) -> None:
        """Check what the database would check at the COMMIT of *unit*."""
        self._wait_for_inner(unit)
        self._dialect.transactions.check_at_commit(self.driver)

    def send(self, statement: str) -> None:
        """Execute *statement*, past SQLAlchemy."""
        cursor = self.driver.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()

    def _roll_back(self, unit: NestedConnection) -> None:
        self.send(f"ROLLBACK TO SAVEPOINT {unit.savepoint}")
        self.send(f"RELEASE SAVEPOINT {unit.savepoint}")
        self._forget(unit)

    def _forget(self, unit: NestedConnection) -> None:
        self._open.remove(unit)
        unit.savepoint = unit.owner = unit.user = None

    def _drop_abandoned(self) -> None:
        try:
            while self._open and self._open[-1].is_abandoned:
                self._roll_back(self._open[-1])
        except self.errors as error:
            raise UnitOfWorkError(
                "a statement was cut off, and this driver has closed the connection with it, and with that the transaction "
                "of this test; use the `committed_database` fixture"
            ) from error

    @property
    def _innermost(self) -> NestedConnection | None:
        """The unit of work that was opened last, but for those that will never end by themselves."""
        return next((unit for unit in reversed(self._open) if not unit.is_abandoned), None)

    def _innermost_owner(self) -> object:
        return self._innermost and self._innermost.owner

    def _may_begin(self, innermost: NestedConnection | None) -> bool:
        """Tell whether who asks is inside of the unit of work that is *innermost*."""
        if innermost is None:
            return True
        around = (*entered_here(), *filter(None, [self.around_all]))
        return any(unit.works_on(innermost.user) for unit in around)

    def _wait_for_inner(self, unit: NestedConnection) -> None:
        self._wait(lambda: self._innermost is unit, self._innermost_owner)
        self._drop_abandoned()

    def _wait(self, is_due: Callable[[], bool], waited_for: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not is_due():
            if waited_for() is self._current() or time.monotonic() > deadline:
                raise UnitOfWorkError(
                    "two units of work are open at the same time on the one connection of this test, and neither is "
                    "inside the other; end one before the other, or use the `committed_database` fixture"
                )
            self._pause(self.driver)

    def _before_statement(self, connection: Connection, cursor: object, *execution: Any) -> tuple[str, Any]:
        statement, parameters, *_ = execution
        unit: Any = connection.connection.dbapi_connection
        if connection.get_execution_options().get(READ_ONLY) and not is_read(statement):
            _refuse_writing(connection)
        if not statement.startswith("SELECT "):
            self._wait_for_inner(unit)
        if statement.startswith(_OF_SAVEPOINTS):  # which each connection numbers from 1
            statement = rename_savepoint(statement, unit.savepoint)
        return statement, parameters


def _begin(connection: Connection) -> None:
    unit: Any = connection.connection.dbapi_connection
    unit.begin(connection, keeps_all=connection.get_execution_options().get(AUTOCOMMIT, False))


def _refuse_writing(connection: Connection) -> None:
    error = ReadOnlyError("this unit of work only reads; open one without read_only=True")
    state = state_of(connection)
    if state is not None:
        state.remember(error)  # as the database's own error would be
    raise error


def _await_a_little(driver: AdaptedConnection) -> None:
    async def pause(_driver: object) -> None:
        await asyncio.sleep(_POLLING_INTERVAL)

    driver.run_async(pause)


def _sleep_a_little(_driver: object) -> None:
    time.sleep(_POLLING_INTERVAL)
