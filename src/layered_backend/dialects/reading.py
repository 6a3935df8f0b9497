"""The meaning of a driver's error."""

from __future__ import annotations

from dataclasses import dataclass

from layered_backend.errors import LayeredError

__all__ = ["NO_DATABASE", "NO_FILE", "REFUSED", "Reading"]

# What a database that cannot be reached has said for good: it will say so again.
REFUSED = "the database refuses the credentials"
NO_DATABASE = "the server has no such database; create it, or correct the URL"
NO_FILE = "the database file cannot be opened"


@dataclass(frozen=True, slots=True)
class Reading:
    """A driver's error, read: what kind it is and what it is about.

    Attributes:
        error: The class to raise.
        constraint: The constraint's name in the database, where the driver tells it.
        table: The table that owns the constraint, where the driver tells it.
        columns: The columns that the constraint covers, where the driver tells them.
        sentence: What to say where the error's own sentence is too general; free of names and values.
    """

    error: type[LayeredError]
    constraint: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()
    sentence: str = ""
