"""The settings of a database: its URL, its pool and its time limits."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from layered_backend.database import Database
from layered_backend.dialects import dialect_named
from layered_backend.settings.base import Settings
from layered_backend.settings.problems import RefusedError

__all__ = ["DatabaseSettings"]

_LONGEST = 24 * 60 * 60  # seconds

Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]


class DatabaseSettings(Settings):
    """The URL of a database, its pool and its time limits. A class with an `env_prefix` is for a second one.

        class ReportSettings(DatabaseSettings):
            model_config = SettingsConfigDict(env_prefix="REPORT_")  # REPORT_DATABASE_URL, ...

    Attributes:
        database_url: The URL, as `Database` takes it.
        database_sync_url: The URL for synchronous use; made from the other one unless it is given.
        database_pool_size: Connections that are kept, at least 1. An in-memory database is one connection.
        database_max_overflow: Connections beside those while they do not suffice, 0 or more.
        database_pool_timeout: Seconds that a unit of work waits for one of them.
        database_pool_recycle: Seconds after which a connection is replaced; None for never.
        database_pgbouncer: Whether the URL leads to PgBouncer in transaction pooling mode.
        database_connect_timeout: Seconds to wait for a new connection; None for what the driver waits.
        database_statement_timeout: Seconds after which the database ends a statement; None for what the server says.
        database_deferred_begin: Whether reads may be sent before BEGIN, which is faster and less certain.
    """

    database_url: SecretStr = Field(examples=["sqlite:///shop.db"])
    database_sync_url: SecretStr | None = None
    database_pool_size: Annotated[int, Field(ge=1)] = 5
    database_max_overflow: Annotated[int, Field(ge=0)] = 10
    database_pool_timeout: Seconds = 30.0
    database_pool_recycle: Annotated[int, Field(gt=0)] | None = None
    database_pgbouncer: bool = False
    database_connect_timeout: Seconds | None = None
    database_statement_timeout: Seconds | None = None
    database_deferred_begin: bool = False

    def database(self, **engine_options: Any) -> Database:
        """Return a new database, which opens nothing before its first use: call it once in a process.

        Args:
            engine_options: Arguments of `Database`; they override the settings.
        """
        sync_url = self.database_sync_url
        arguments: dict[str, Any] = {
            "sync_url": None if sync_url is None else sync_url.get_secret_value(),
            "pgbouncer": self.database_pgbouncer,
            "connect_timeout": self.database_connect_timeout,
            "statement_timeout": self.database_statement_timeout,
            "deferred_begin": self.database_deferred_begin,
        }
        if "poolclass" not in engine_options:
            arguments |= self._pool_options()
        return Database(self.database_url.get_secret_value(), **(arguments | engine_options))

    def _pool_options(self) -> dict[str, Any]:
        url = make_url(self.database_url.get_secret_value())
        connections = dialect_named(url.get_backend_name()).connections
        if connections.is_in_memory(connections.effective_url(url)):
            return {"pool_timeout": self.database_pool_timeout}
        options: dict[str, Any] = {
            "pool_size": self.database_pool_size,
            "max_overflow": self.database_max_overflow,
            "pool_timeout": self.database_pool_timeout,
        }
        return options if self.database_pool_recycle is None else options | {"pool_recycle": self.database_pool_recycle}

    @field_validator("database_url", "database_sync_url")
    @classmethod
    def _leads_to_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            problem = _problem_of(value.get_secret_value())
            if problem:
                raise RefusedError(problem)
        return value

    @field_validator("database_pgbouncer", "database_connect_timeout", "database_statement_timeout")
    @classmethod
    def _is_possible(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Refuse what `Database` would, while the variable is known that it comes from."""
        url: SecretStr | None = info.data.get("database_url")
        if not value or url is None or info.field_name is None:
            return value
        options: dict[str, Any] = {"pgbouncer": info.data.get("database_pgbouncer", False)}
        options[info.field_name.removeprefix("database_")] = value
        try:
            Database(url.get_secret_value(), **options)
        except ValueError as error:
            problem = f"cannot be honoured: {error}".replace(";", ",")  # it is one of several, maybe
        else:
            return value
        raise RefusedError(problem)


def _problem_of(text: str) -> str:
    """Return what is wrong with a URL, in words that have nothing of it: what follows a wrong one's mistake may be secret."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return "is not the URL of a database, one looks like sqlite:///shop.db"
    return _unsupported(url)


def _unsupported(url: URL) -> str:
    try:
        dialect = dialect_named(url.get_backend_name())
    except ValueError:
        return "is of no supported database, begin it with sqlite://, postgresql://, mariadb:// or mysql://"
    try:
        dialect.connections.effective_url(url)
    except ValueError as error:  # which has nothing of it, as those of `Database`
        return f"cannot be used: {error}"
    try:
        url.get_dialect()
    except ArgumentError:
        return "names a driver that is not known, leave it out: one is chosen"
    return ""
