"""The errors of PostgreSQL, by SQLSTATE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from layered_backend import errors
from layered_backend.dialects.portable import PortableErrors
from layered_backend.dialects.reading import NO_DATABASE, REFUSED, Reading
from layered_backend.upstream import asyncpg, psycopg

__all__ = ["PostgreSQLErrors"]

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
    "40003": errors.DatabaseUnavailableError,  # statement completion unknown
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
    "28000": REFUSED,
    "28P01": REFUSED,
    "3D000": NO_DATABASE,
    "53300": "the database takes no more connections",
}
# libpq, and so psycopg, hands on no SQLSTATE from a connection that did not come about, only what the server wrote.
_REFUSALS: Mapping[re.Pattern[str], str] = {
    re.compile(r"FATAL:  (role \".*\" does not exist|password authentication failed|no pg_hba\.conf entry)"): REFUSED,
    re.compile(r"FATAL:  database \".*\" does not exist"): NO_DATABASE,
}
_DETAIL_KEY = re.compile(r"\((?P<columns>.+?)\)=\(")  # Key (a, b)=(1, 2) already exists; in every language


class PostgreSQLErrors(PortableErrors):
    """Reads the SQLSTATE, and the fields of the error report; they are alike in every language."""

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
        if asyncpg.is_broken_off(error):
            return Reading(errors.DatabaseUnavailableError)
        refusal = next((sentence for pattern, sentence in _REFUSALS.items() if pattern.search(str(error))), None)
        if refusal is None and psycopg.is_without_password(error):
            refusal = REFUSED
        if refusal is not None:
            return Reading(errors.DatabaseUnavailableError, sentence=refusal)
        is_bad_value = type(error).__name__ == "DataError" or psycopg.is_refused_value(error)
        return Reading(errors.InvalidDataError) if is_bad_value else None


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
