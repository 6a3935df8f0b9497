"""What differs between SQLite, PostgreSQL and MariaDB: nowhere else is a database's name compared."""

from __future__ import annotations

from collections.abc import Mapping

from layered_backend.dialects.base import DatabaseDialect, Reading
from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.mysql import MySQLDialect
from layered_backend.dialects.postgresql import PostgreSQLDialect
from layered_backend.dialects.rows import Rows
from layered_backend.dialects.sort_forms import GivenLater, SortForm
from layered_backend.dialects.sqlite import SQLiteDialect

__all__ = [
    "DatabaseDialect",
    "GivenKeys",
    "GivenLater",
    "Reading",
    "Rows",
    "SortForm",
    "dialect_named",
]

_DIALECTS: Mapping[str, DatabaseDialect] = {
    "sqlite": SQLiteDialect(),
    "postgresql": PostgreSQLDialect(),
    "mysql": MySQLDialect(),
    "mariadb": MySQLDialect(),
}


def dialect_named(name: str) -> DatabaseDialect:
    """Return the dialect that SQLAlchemy calls *name*.

    Raises:
        ValueError: The database is not one of those that are supported.
    """
    try:
        return _DIALECTS[name]
    except KeyError:
        known = ", ".join(f"{known}://" for known in _DIALECTS)
        raise ValueError(f"{name}:// is not supported; a database URL begins with one of {known}") from None
