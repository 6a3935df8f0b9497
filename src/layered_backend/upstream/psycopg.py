"""How psycopg and libpq word the errors that they raise themselves."""

from __future__ import annotations

__all__ = ["is_refused_value", "is_without_password"]


def is_refused_value(error: BaseException) -> bool:
    """Tell whether psycopg has refused the type of a parameter, before the server saw the statement.

    Uses the wording, as the class, `ProgrammingError`, is that of other mistakes too; without it, such a value is an error
    of SQLAlchemy's and no InvalidDataError.
    """
    return "cannot adapt type" in str(error)


def is_without_password(error: BaseException) -> bool:
    """Tell whether libpq has no password for a server that asks for one.

    Uses the wording: an error that arises before there is a connection has no SQLSTATE. Without it, whoever waits for the
    database waits in vain.
    """
    return "fe_sendauth: no password supplied" in str(error)
