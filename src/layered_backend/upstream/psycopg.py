"""How psycopg and libpq word the errors that they raise themselves."""

from __future__ import annotations

__all__ = ["is_refused_value", "is_without_password"]


def is_refused_value(error: BaseException) -> bool:
    """Tell whether psycopg has refused the type of a parameter, before the server saw the statement.

    It reads the wording. The class, `ProgrammingError`, is that of other mistakes too. Without it, such a value would be an
    error of SQLAlchemy's in place of an InvalidDataError.
    """
    return "cannot adapt type" in str(error)


def is_without_password(error: BaseException) -> bool:
    """Tell whether libpq has no password for a server that asks for one.

    It reads the wording. The error has no SQLSTATE, because there is no connection yet. Without it, a migration would wait
    for a database that is up and only needs a password.
    """
    return "fe_sendauth: no password supplied" in str(error)
