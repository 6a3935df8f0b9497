"""PostgreSQL, through asyncpg or psycopg."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Insert,
    Table,
    any_,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import BigInteger, Enum, Integer, SmallInteger, String, TypeEngine, Uuid

from layered_backend import errors
from layered_backend.dialects.base import INT64, DatabaseDialect, Reading
from layered_backend.dialects.conflicts import on_conflict
from layered_backend.dialects.connecting import opened
from layered_backend.dialects.lock_names import lock_number

__all__ = ["PostgreSQLDialect"]

INT32 = range(-(2**31), 2**31)
INT16 = range(-(2**15), 2**15)
_ARRAY_TYPES = (Integer, String, Uuid)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: Mapping[str, type[errors.LayeredError]] = {
    "23505": errors.UniqueViolationError,
    "23503": errors.ForeignKeyViolationError,
    "23001": errors.ForeignKeyViolationError,  # ON DELETE RESTRICT, from PostgreSQL 18
    "23502": errors.NotNullViolationError,
    "23514": errors.CheckViolationError,
    "23P01": errors.ConflictError,  # an exclusion constraint
    "25006": errors.ReadOnlyError,
    "25P02": errors.RolledBackError,
    "40001": errors.SerializationFailureError,
    "40P01": errors.DeadlockError,
    "55P03": errors.LockTimeoutError,
    "57014": errors.StatementTimeoutError,
    "57P01": errors.DatabaseUnavailableError,  # shut down by an administrator
    "57P02": errors.DatabaseUnavailableError,  # crashed
    "57P03": errors.DatabaseUnavailableError,  # starting up
    "53300": errors.DatabaseUnavailableError,  # too many connections
}
_BY_CLASS: Mapping[str, type[errors.LayeredError]] = {
    "08": errors.DatabaseUnavailableError,
    "22": errors.InvalidDataError,
    "28": errors.DatabaseUnavailableError,  # the server refuses the credentials
    "3D": errors.DatabaseUnavailableError,  # the server has no such database
}
_SENTENCES: Mapping[str, str] = {
    "28000": "the database refuses the credentials",
    "28P01": "the database refuses the credentials",
    "3D000": "the server has no such database",
    "53300": "the database takes no more connections",
}
_logger = logging.getLogger("layered_backend")
_NOTICE_LOST_CLIENT = (
    "SELECT set_config(name, '1000', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"
)
# Nothing may be kept on a server's connection that is another one at the next transaction. Of asyncpg's two caches, the
# driver's own would leave named statements there; SQLAlchemy's would read rows by columns that have changed since.
_BEHIND_PGBOUNCER: Mapping[str, Mapping[str, Any]] = {
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    "psycopg": {"prepare_threshold": None},
    "psycopg_async": {"prepare_threshold": None},
}
_DETAIL_KEY = re.compile(r"\((?P<columns>.+?)\)=\(")  # Key (a, b)=(1, 2) already exists; in every language


class PostgreSQLDialect(DatabaseDialect):
    """PostgreSQL 12 and newer."""

    async_driver: ClassVar[str] = "asyncpg"
    sync_driver: ClassVar[str] = "psycopg"
    async_only: ClassVar[frozenset[str]] = frozenset({"asyncpg"})
    nulls_are_greatest: ClassVar[bool] = True
    parameter_limit: ClassVar[int] = 32_767  # of asyncpg; psycopg takes twice as many
    extra: ClassVar[str] = "postgresql"

    def configure(self, engine: Engine) -> None:
        if engine.dialect.driver == "asyncpg":
            event.listen(engine, "do_connect", _choose_connect)
        event.listen(engine, "connect", _let_server_notice_a_lost_client)

    def pgbouncer_arguments(self, url: URL) -> Mapping[str, Any]:
        driver = url.get_driver_name()
        if driver not in _BEHIND_PGBOUNCER:
            raise ValueError(f"pgbouncer=True knows the drivers asyncpg and psycopg, not {driver}")
        return _BEHIND_PGBOUNCER[driver]

    def transaction_options(self, *, read_only: bool, deferred: bool, isolation_level: str | None) -> Mapping[str, Any]:
        options = dict(super().transaction_options(read_only=False, deferred=False, isolation_level=isolation_level))
        return options | {"postgresql_readonly": True} if read_only else options

    def upsert(
        self,
        table: Table,
        on: Sequence[Column[Any]],
        changes: Callable[[Any], Mapping[Column[Any], Any]],
        condition: ColumnElement[bool] | None,
    ) -> Insert:
        return on_conflict(insert(table), on, changes, condition)

    def among(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        """Return the criterion with all keys in one array: a statement that is the same for any number of them."""
        if len(key) > 1 or not isinstance(key[0].type, _ARRAY_TYPES) or isinstance(key[0].type, Enum):
            return super().among(key, identities)
        keys = literal([identity[0] for identity in identities], ARRAY(key[0].type))
        return key[0] == any_(keys)

    def read(self, error: BaseException) -> Reading | None:
        sqlstate = getattr(error, "sqlstate", None)
        if not sqlstate:
            return self._read_client_side(error)
        kind = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
        if kind is None:
            return None
        facts = _Facts(error)
        sentence = _SENTENCES.get(sqlstate, "")
        return Reading(kind, facts["constraint_name"], facts["table_name"], facts.columns, sentence)

    def _read_client_side(self, error: BaseException) -> Reading | None:
        """Read an error that a driver raised itself, about a statement that the server did not see."""
        if type(error).__name__ == "InternalClientError":  # asyncpg was told of its connection's end in mid-answer
            return Reading(errors.DatabaseUnavailableError)
        is_bad_value = type(error).__name__ == "DataError" or "cannot adapt type" in str(error)
        return Reading(errors.InvalidDataError) if is_bad_value else None

    def holds(self, column_type: TypeEngine[Any], value: object) -> bool:
        return super().holds(column_type, value) and not (isinstance(value, str) and "\x00" in value)

    def integers(self, column_type: Integer) -> range:
        if isinstance(column_type, BigInteger):
            return INT64
        return INT16 if isinstance(column_type, SmallInteger) else INT32

    @contextmanager
    def lock(self, connection: Connection, name: str) -> Generator[None]:
        """Hold an advisory lock until *connection*'s transaction ends.

        A lock of the transaction, not of the session: behind PgBouncer the session is another one at the next
        statement. Take it before any savepoint: rolling back to a savepoint gives back what was locked after it.
        """
        connection.execute(select(func.pg_advisory_xact_lock(lock_number(name))))
        yield


def _choose_connect(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> None:
    options.setdefault("async_creator_fn", _connect)


async def _connect(*args: Any, **options: Any) -> Any:
    asyncpg: Any = import_module("asyncpg")
    return await opened(asyncpg.connect(*args, **options), lambda connection: connection.terminate())


def _let_server_notice_a_lost_client(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Have the server look every second, from PostgreSQL 14 on, whether the client of a running statement is there.

    A cancellation that overtakes its statement stops nothing: the server would carry the statement on, and keep the
    locks of its transaction, for a connection that has been closed.
    """
    adapted: Any = connection
    before = adapted.autocommit
    adapted.autocommit = True
    cursor = connection.cursor()
    try:
        cursor.execute(_NOTICE_LOST_CLIENT)
    except Exception:  # a server on a system that cannot tell
        _logger.debug("the server will not notice a lost client", exc_info=True)
    finally:
        cursor.close()
        adapted.autocommit = before


class _Facts:
    """The fields of an error report, which asyncpg keeps on its own exception and psycopg on `diag`."""

    def __init__(self, error: BaseException) -> None:
        self._source = getattr(error, "diag", None) or error.__cause__ or error

    def __getitem__(self, name: str) -> str | None:
        return getattr(self._source, name, None)

    @property
    def columns(self) -> tuple[str, ...]:
        column = self["column_name"]
        if column:
            return (column,)
        detail = self["detail"] or self["message_detail"] or ""
        key = _DETAIL_KEY.search(detail)
        if key is None or "(" in key["columns"] or f'"{self["table_name"]}"' in detail:
            return ()  # an expression, or the columns that another table refers to
        return tuple(name.strip(' "') for name in key["columns"].split(","))
