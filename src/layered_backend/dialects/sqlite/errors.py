"""The errors of SQLite, which names neither a foreign key nor a unique constraint."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import ExceptionContext

from layered_backend import errors
from layered_backend.dialects.portable import PortableErrors
from layered_backend.dialects.reading import NO_FILE, Reading
from layered_backend.dialects.sqlite.foreign_keys import column_keys, deferred_violation, violated_key
from layered_backend.upstream import aiosqlite

__all__ = ["SQLiteErrors"]

# https://www.sqlite.org/rescode.html
_BY_NAME: Mapping[str, type[errors.LayeredError]] = {
    "SQLITE_CONSTRAINT_UNIQUE": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_PRIMARYKEY": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_ROWID": errors.UniqueViolationError,
    "SQLITE_CONSTRAINT_NOTNULL": errors.NotNullViolationError,
    "SQLITE_CONSTRAINT_CHECK": errors.CheckViolationError,
    "SQLITE_CONSTRAINT_DATATYPE": errors.InvalidDataError,
    "SQLITE_MISMATCH": errors.InvalidDataError,
    "SQLITE_TOOBIG": errors.InvalidDataError,
    "SQLITE_READONLY": errors.ReadOnlyError,
    "SQLITE_BUSY": errors.LockTimeoutError,
    "SQLITE_BUSY_RECOVERY": errors.LockTimeoutError,
    "SQLITE_BUSY_SNAPSHOT": errors.SerializationFailureError,
    "SQLITE_LOCKED": errors.LockTimeoutError,
    "SQLITE_LOCKED_SHAREDCACHE": errors.LockTimeoutError,
    "SQLITE_CANTOPEN": errors.DatabaseUnavailableError,
    "SQLITE_CANTOPEN_ISDIR": errors.DatabaseUnavailableError,
    "SQLITE_FULL": errors.DatabaseUnavailableError,
}
_BY_MESSAGE: Mapping[str, Reading] = {
    "unable to open database file": Reading(errors.DatabaseUnavailableError, sentence=NO_FILE),
    # It comes under two names, one of which is every trigger's.
    "FOREIGN KEY constraint failed": Reading(errors.ForeignKeyViolationError),
}


class SQLiteErrors(PortableErrors):
    """Reads the extended result codes, and SQLite's own messages."""

    def read(self, error: BaseException) -> Reading | None:
        if aiosqlite.is_refused_value(error):
            return Reading(errors.InvalidDataError)
        message = str(error)
        reading = next((reading for text, reading in _BY_MESSAGE.items() if text in message), None)
        kind = _BY_NAME.get(getattr(error, "sqlite_errorname", ""))
        if reading is not None or kind is None:
            return reading
        _, _, subject = message.partition("failed: ")
        if kind is errors.CheckViolationError:
            return Reading(kind, constraint=subject if subject.isidentifier() else None)  # else it is the rule itself
        if kind in {errors.UniqueViolationError, errors.NotNullViolationError}:
            return _read_columns(kind, subject)
        return Reading(kind)

    def probe(self, context: ExceptionContext, reading: Reading) -> Reading:
        """Find the foreign key that failed: SQLite itself names none."""
        if reading.error is not errors.ForeignKeyViolationError or context.connection is None:
            return reading
        if context.execution_context is None:
            return deferred_violation(context.connection) or reading
        key = violated_key(context)
        if key is None:
            return reading
        return Reading(reading.error, None, key.table.name, column_keys(key))


def _read_columns(kind: type[errors.LayeredError], subject: str) -> Reading:
    """Read `items.a, items.b`, or `index 'name'` for a unique index on an expression."""
    if subject.startswith("index "):
        return Reading(kind, constraint=subject.removeprefix("index ").strip("'"))
    pairs = [name.rsplit(".", 1) for name in subject.split(", ")]
    return Reading(kind, table=pairs[0][0], columns=tuple(pair[-1] for pair in pairs))
