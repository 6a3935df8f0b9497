"""Statements that begin, end or divide a transaction by their text, behind the back of the unit of work."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["PLAIN_STATEMENTS", "transaction_control_in"]

PLAIN_STATEMENTS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ")
"""The beginnings of statements that control no transaction, unless a second statement follows a semicolon."""

# Databases disagree on backslashes in a string, and on `#`. A statement is refused if either reading finds something.
_READINGS = tuple(
    re.compile(
        rf"--[^\n]*{hash_comment}|/\*(?!M?!).*?\*/|`[^`]*`|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$"
        rf"|[eE]'(?:[^'\\]|\\.)*'|'(?:[^'{escape}]{escaped})*'|\"(?:[^\"{escape}]{escaped})*\"",
        re.DOTALL,
    )
    for hash_comment, escape, escaped in (("", "", ""), (r"|\#[^\n]*", r"\\", r"|\\."))
)
_EXECUTED_COMMENT = re.compile(r"/\*M?!\d*")  # MariaDB carries out what is in it
# PostgreSQL nests comments: the end of an outer one may still stand before the statement.
_CONTROL = re.compile(
    r"[\s(*/]*(COMMIT|ROLLBACK|ABORT|END|SAVEPOINT|RELEASE|BEGIN(?!\s+NOT\s+ATOMIC)|START\s+TRANSACTION"
    r"|PREPARE\s+TRANSACTION|XA|SET(?=\s.*\bAUTOCOMMIT\b))\b",
    re.IGNORECASE | re.DOTALL,
)
# The body of a routine has semicolons, and an END, of its own.
_ROUTINE = re.compile(
    r"[\s(*/]*(?:(?:CREATE|ALTER)\s.*?\b(?:TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE)\b|BEGIN\s+NOT\s+ATOMIC\b)",
    re.IGNORECASE | re.DOTALL,
)


@lru_cache(maxsize=1_000)
def transaction_control_in(statement: str) -> str | None:
    """Return the keyword by which *statement*, or one behind its semicolons, controls the transaction; None without one.

    Comments, strings and quoted names do not count. What a procedure or a prepared statement does is not seen.
    """
    executed = _EXECUTED_COMMENT.sub(" ", statement)
    for reading in _READINGS:
        bare = reading.sub(_without_quotes, executed)
        for part in [bare] if _ROUTINE.match(bare) else bare.split(";"):
            found = _CONTROL.match(part)
            if found is not None:
                return " ".join(found[1].upper().split())
    return None


def _without_quotes(quoted: re.Match[str]) -> str:
    """Return what is left of a comment or of something quoted: the name of a MariaDB variable may be quoted too."""
    return quoted[0].strip("`").replace(";", " ") if quoted[0].startswith("`") else " "
