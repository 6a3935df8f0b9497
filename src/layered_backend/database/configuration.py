"""The configuration of a database, checked: where it is, and how its engines are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from layered_backend.dialects import DatabaseDialect, dialect_named

__all__ = ["DatabaseConfiguration", "refuse_autocommit"]

_LONGEST = 2_147_483  # seconds, which PostgreSQL takes as milliseconds of 31 bits; some 24 days
_PASSWORDS = ("password", "passwd")
_OF_POOLS = frozenset({"max_overflow", "pool", "pool_size", "pool_timeout", "pool_use_lifo"})


@dataclass(frozen=True, kw_only=True, repr=False)
class DatabaseConfiguration:
    """The configuration of one database. The arguments of `Database` make it.

    Attributes:
        url: Where it is, for asynchronous use, with the driver.
        sync_url: Where it is, for synchronous use, with the driver.
        dialect: What is particular to databases of its kind.
        is_in_memory: Whether it is one connection, and gone with it.
        pgbouncer: Whether the URLs lead to PgBouncer in transaction pooling mode.
        connect_timeout: Seconds to wait for a new connection; None for the driver's own limit.
        statement_timeout: Seconds that a statement may take; None for no limit.
        deferred_begin: Whether reads may be sent before BEGIN.
        engine_options: The caller's arguments of `create_engine`.
    """

    url: URL
    sync_url: URL
    dialect: DatabaseDialect
    is_in_memory: bool
    pgbouncer: bool
    connect_timeout: float | None
    statement_timeout: float | None
    deferred_begin: bool
    engine_options: Mapping[str, Any]

    @classmethod
    def at(cls, url: str | URL, sync_url: str | URL | None = None, **said: Any) -> Self:
        """Return the configuration of the database at *url*; *said* is what the caller says of the other attributes.

        Raises:
            ValueError: As `Database` does.
        """
        given = _parsed(url)
        dialect = dialect_named(given.get_backend_name())
        resolved = dialect.connections.effective_url(given)
        effective = _with_driver(resolved, dialect.connections.async_driver)
        synchronous = _parsed(sync_url) if sync_url else resolved
        if synchronous.drivername.partition("+")[2] in dialect.connections.async_only:
            synchronous = synchronous.set(drivername=synchronous.get_backend_name())
        return cls(
            url=effective,
            sync_url=_with_driver(synchronous, dialect.connections.sync_driver),
            dialect=dialect,
            is_in_memory=dialect.connections.is_in_memory(effective),
            **said,
        )

    def __post_init__(self) -> None:
        refuse_autocommit(self.engine_options.get("isolation_level"))
        self._refuse_autocommit_of_driver()
        for url in (self.url, self.sync_url):
            self._connect_arguments(url)  # raises where the driver has none of that kind
        self._check_statement_timeout()

    def _refuse_autocommit_of_driver(self) -> None:
        arguments: Mapping[str, Any] = self.engine_options.get("connect_args") or {}
        is_said = any("autocommit" in url.query for url in (self.url, self.sync_url))
        # sqlite3 has -1 for its old way, which is the one that is used; PyMySQL has None for what the server does.
        if is_said or arguments.get("autocommit", False) not in {False, -1}:
            raise ValueError(
                "units of work are transactions; the driver's autocommit= would save each statement by itself, so leave it "
                "out of the URL and of connect_args"
            )

    def _check_statement_timeout(self) -> None:
        if self.statement_timeout is None:
            return
        _refuse_no_time("statement_timeout", self.statement_timeout)
        if not self.dialect.connections.has_statement_timeout:
            raise ValueError(f"{self.url.get_backend_name()}:// has no statement_timeout; leave it out")
        if self.pgbouncer:
            raise ValueError(
                "statement_timeout= is a setting of the session, which is lost behind PgBouncer; "
                "write ALTER ROLE ... SET statement_timeout = ... on the server"
            )

    def engine_arguments(self, url: URL, *, asynchronous: bool) -> dict[str, Any]:
        """Return the arguments of `create_engine`: the caller's, over the dialect's, over ours."""
        ours = {"hide_parameters": True}  # the values of rows stay out of messages, and so out of logs
        dialects = self.dialect.connections.engine_options(url, asynchronous=asynchronous)
        if "poolclass" in self.engine_options:  # whose arguments are the caller's too
            dialects = {
                name: value for name, value in dialects.items() if not name.startswith(("pool", "max_overflow"))
            }
        connect_args = {
            **dialects.get("connect_args", {}),
            **self._connect_arguments(url),
            **self.engine_options.get("connect_args", {}),
        }
        return {**ours, **dialects, **self.engine_options, "connect_args": connect_args}

    def _connect_arguments(self, url: URL) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if self.connect_timeout is not None:
            _refuse_no_time("connect_timeout", self.connect_timeout)
            arguments |= self.dialect.connections.connect_timeout_arguments(url, self.connect_timeout)
        if self.pgbouncer:
            arguments |= self.dialect.connections.pgbouncer_arguments(url)
        return arguments

    def unpooled_arguments(self) -> dict[str, Any]:
        """Return the arguments of `Database` that make the same one without a pool and without a limit for statements."""
        kept = {name: value for name, value in self.engine_options.items() if name not in _OF_POOLS}
        return {
            **kept,
            "poolclass": NullPool,
            "url": self.url,
            "sync_url": self.sync_url,
            "pgbouncer": self.pgbouncer,
            "connect_timeout": self.connect_timeout,
            "deferred_begin": self.deferred_begin,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        if self.is_in_memory:
            return f"{self.url.drivername}://"
        shown = self.url.set(query={})  # which may have the password of a key in it
        return shown.render_as_string(hide_password=True)


def refuse_autocommit(isolation_level: object) -> None:
    """Refuse the isolation level AUTOCOMMIT, in which nothing could be undone.

    Raises:
        ValueError: It is that one.
    """
    if str(isolation_level).upper() == "AUTOCOMMIT":
        raise ValueError("a unit of work is a transaction; its isolation level cannot be AUTOCOMMIT")


def _parsed(url: str | URL) -> URL:
    try:
        return _with_password_in_its_place(make_url(url))
    except (ArgumentError, ValueError):  # whose messages hold the URL or its port, and so maybe a password
        raise ValueError("this is not the URL of a database; one looks like sqlite:///shop.db") from None


def _with_password_in_its_place(url: URL) -> URL:
    """Return *url* with a password that is in its query, as drivers have it too, where SQLAlchemy shows it to nobody."""
    found = next((url.query[name] for name in _PASSWORDS if name in url.query), None)
    return url.difference_update_query(_PASSWORDS).set(password=found) if isinstance(found, str) else url


def _refuse_no_time(name: str, seconds: float) -> None:
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{name}= is a number of seconds above 0, and {_LONGEST} at most")


def _with_driver(url: URL, driver: str) -> URL:
    """Return *url* with *driver*, unless it names one."""
    return url if "+" in url.drivername else url.set(drivername=f"{url.drivername}+{driver}")
