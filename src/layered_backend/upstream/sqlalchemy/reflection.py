"""How SQLAlchemy reads the tables of a database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.reflection import Inspector

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["reflect_by", "verify_reflection"]


def verify_reflection() -> None:
    """Check that `reflect_by` can work, by the dialect of SQLAlchemy's that has an inspector of its own.

    Raises:
        UnsupportedVersionError: SQLAlchemy has changed.
    """
    SQLALCHEMY.require(Undocumented(postgresql.dialect, "inspector"))


def reflect_by(inspector: type[Inspector], dialect: Dialect) -> None:
    """Have every engine of *dialect* read its tables by *inspector*.

    It assigns to `Dialect.inspector`. The public `inspect` has no place for a class of one's own, and Alembic reads the
    tables itself. Without it a copy of a table in SQLite would lose its unnamed check constraints.
    """
    dialect_of_engine: Any = dialect
    dialect_of_engine.inspector = inspector
