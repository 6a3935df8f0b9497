"""The errors of MariaDB and MySQL, by number; their messages name constraints and columns."""

from __future__ import annotations

import re
from collections.abc import Mapping

from layered_backend import errors
from layered_backend.dialects.portable import PortableErrors
from layered_backend.dialects.reading import NO_DATABASE, REFUSED, Reading

__all__ = ["MySQLErrors"]

_UNKNOWN = 1305

# https://mariadb.com/kb/en/mariadb-error-code-reference/
_BY_ERRNO: Mapping[int, type[errors.LayeredError]] = {
    1062: errors.UniqueViolationError,
    1216: errors.ForeignKeyViolationError,
    1217: errors.ForeignKeyViolationError,
    1451: errors.ForeignKeyViolationError,
    1452: errors.ForeignKeyViolationError,
    1048: errors.NotNullViolationError,
    1364: errors.NotNullViolationError,  # no value given, and the column has no default
    3819: errors.CheckViolationError,  # MySQL
    4025: errors.CheckViolationError,  # MariaDB
    1264: errors.InvalidDataError,  # out of range
    1265: errors.InvalidDataError,  # truncated
    1292: errors.InvalidDataError,  # incorrect value
    1366: errors.InvalidDataError,  # incorrect value, or not in the column's character set
    1406: errors.InvalidDataError,  # too long
    1020: errors.SerializationFailureError,  # the row has changed, under innodb_snapshot_isolation
    1205: errors.LockTimeoutError,
    1213: errors.DeadlockError,
    3572: errors.LockTimeoutError,  # NOWAIT, MySQL
    _UNKNOWN: errors.RolledBackError,  # the savepoint is gone, and with it the transaction
    1317: errors.StatementTimeoutError,  # KILL QUERY
    1969: errors.StatementTimeoutError,  # max_statement_time, MariaDB
    3024: errors.StatementTimeoutError,  # max_execution_time, MySQL
    1290: errors.ReadOnlyError,  # the server runs with --read-only
    1792: errors.ReadOnlyError,
    1040: errors.DatabaseUnavailableError,  # too many connections
    1044: errors.DatabaseUnavailableError,  # the server refuses the user
    1045: errors.DatabaseUnavailableError,  # the server refuses the credentials
    1049: errors.DatabaseUnavailableError,  # the server has no such database
    1053: errors.DatabaseUnavailableError,  # shutting down
    1180: errors.DatabaseUnavailableError,  # an error during COMMIT, which may have been carried out
    1698: errors.DatabaseUnavailableError,  # the server refuses the credentials, MariaDB
    1927: errors.DatabaseUnavailableError,  # connection killed
    2002: errors.DatabaseUnavailableError,
    2003: errors.DatabaseUnavailableError,
    2006: errors.DatabaseUnavailableError,
    2013: errors.DatabaseUnavailableError,
}
_SENTENCES: Mapping[int, str] = {
    1040: "the database takes no more connections",
    1044: REFUSED,
    1045: REFUSED,
    1049: NO_DATABASE,
    1698: REFUSED,
}
_FOREIGN_KEY = re.compile(r"`(?P<table>[^`]+)`, CONSTRAINT `(?P<constraint>[^`]+)` FOREIGN KEY \((?P<columns>[^)]+)\)")
_KEY = re.compile(r"for key '(?:(?P<table>[^'.]+)\.)?(?P<constraint>[^']+)'\s*$")
_COLUMN = re.compile(r"(?:Column|Field|column) [`'](?:[^']*`\.`)?(?P<columns>[^'`]+)[`']")
_CHECK = re.compile(r"(?:CONSTRAINT `|constraint ')(?P<constraint>[^`']+)[`'](?:.*`(?P<table>[^`]+)`)?")
_PATTERNS: Mapping[type[errors.LayeredError], re.Pattern[str]] = {
    errors.UniqueViolationError: _KEY,
    errors.ForeignKeyViolationError: _FOREIGN_KEY,
    errors.NotNullViolationError: _COLUMN,
    errors.CheckViolationError: _CHECK,
    errors.InvalidDataError: _COLUMN,
}


class MySQLErrors(PortableErrors):
    """Reads the number of an error, and what its message says."""

    def read(self, error: BaseException) -> Reading | None:
        errno = error.args[0] if error.args else None
        kind = _BY_ERRNO.get(errno) if isinstance(errno, int) else None
        if errno == _UNKNOWN and not str(error.args[1]).startswith("SAVEPOINT "):  # but a function, or a procedure
            return None
        if kind is None:
            return Reading(errors.InvalidDataError) if type(error).__name__ == "DataError" else None
        found = _PATTERNS[kind].search(str(error.args[1])) if kind in _PATTERNS else None
        facts = found.groupdict() if found else {}
        columns = tuple(name.strip(" `") for name in (facts.get("columns") or "").split(",") if name)
        sentence = _SENTENCES.get(error.args[0], "")
        return Reading(kind, facts.get("constraint"), facts.get("table"), columns, sentence)
