"""Deferred BEGIN: it is sent before the first statement that could tell the difference, which a read often cannot.

Under READ COMMITTED each statement of a transaction sees what is committed when it begins, which is what it sees outside
of a transaction too. So the reads before the first statement that writes, locks or calls a function are sent as they
are, and a unit of work that only reads saves two of its three round trips. Until then a read needs no session either: any
connection will do.

It is less certain because it goes by the text of a statement. A view whose function writes, a row policy, an operator or
a cast of the application's own is not seen in it; what such a read writes is saved, whatever becomes of the unit of work.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExecutionContext

from layered_backend.session import TransactionNeededError
from layered_backend.upstream.sqlalchemy.asyncpg_adapter import (
    can_withhold_begin,
    has_begun,
    isolation_level_of,
    needs_begin,
    withheld_begin,
)

__all__ = ["DeferredBegin", "defer_begin", "only_reads"]

_BEFORE_BEGIN = "layered_backend_before_begin"
_READ_COMMITTED = "READ COMMITTED"
# A quoted name ends with its quote, or with UESCAPE '!'.
_NAME_BEFORE_PARENTHESIS = re.compile(r"""([\w$.\x80-\U0010FFFF]+|["'])\s*\(""")
# FOR UPDATE, SELECT INTO, a second statement, a comment that may stand between a name and its parenthesis, and a space
# between a schema and its function. The clock is a call without parentheses, or a literal such as TIMESTAMP 'now', which
# a backslash may hide; it is the same at each reading of a transaction. A keyword may follow a number without a space.
_MORE_THAN_READING = re.compile(
    r"(?<![^\W\d])(FOR|INTO|CURRENT_(?:DATE|TIME|TIMESTAMP|USER|ROLE|CATALOG|SCHEMA)|LOCALTIME|LOCALTIMESTAMP|SESSION_USER"
    r"|NOW|TODAY|TOMORROW|YESTERDAY)\b|;|--|/\*|\.\s|\s\.|\\",
    re.IGNORECASE,
)
# These may stand before a parenthesis and do nothing but compute: keywords, types and functions of SQL itself.
_HARMLESS = frozenset(
    [
        "ALL",
        "AND",
        "ANY",
        "ARRAY",
        "AS",
        "BETWEEN",
        "BY",
        "CASE",
        "DISTINCT",
        "ELSE",
        "EXCEPT",
        "EXISTS",
        "FROM",
        "HAVING",
        "ILIKE",
        "IN",
        "INTERSECT",
        "JOIN",
        "LIKE",
        "LIMIT",
        "NOT",
        "OFFSET",
        "ON",
        "OR",
        "OVER",
        "SELECT",
        "SOME",
        "THEN",
        "UNION",
        "VALUES",
        "WHEN",
        "WHERE",
        "CHAR",
        "DECIMAL",
        "NUMERIC",
        "TIME",
        "TIMESTAMP",
        "VARCHAR",
        "ABS",
        "AVG",
        "CAST",
        "COALESCE",
        "COUNT",
        "GREATEST",
        "LEAST",
        "LENGTH",
        "LOWER",
        "MAX",
        "MIN",
        "NULLIF",
        "ROUND",
        "SUM",
        "TRIM",
        "UNNEST",
        "UPPER",
    ]
)


class DeferredBegin:
    """Reading before BEGIN: the `UnbegunReads` of a session whose engine defers it. Lives as long as the engine.

    Attributes:
        engine: It shares the pool; its connections send nothing but reads that need no transaction, and refuse others
            with TransactionNeededError.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine: Engine = engine.execution_options(**{_BEFORE_BEGIN: True})

    def has_begun(self, connection: Connection) -> bool:
        """Tell whether BEGIN was sent on *connection*."""
        return has_begun(connection)


def defer_begin(engine: Engine) -> DeferredBegin | None:
    """Have the connections of *engine* begin a transaction only where a statement needs it.

    Returns:
        The way to read before that; None where the driver is not asyncpg, or its adapter does not allow it, and every
        transaction begins with its first statement.
    """
    if engine.dialect.driver != "asyncpg" or not can_withhold_begin():
        return None
    event.listen(engine, "do_execute", _execute_without_begin)
    event.listen(engine, "do_execute_no_params", _refuse_before_begin)
    event.listen(engine, "do_executemany", _refuse_before_begin)
    return DeferredBegin(engine)


def _execute_without_begin(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    """Execute *statement* where BEGIN makes no difference to it, and tell whether that was done."""
    dialect: Any = context.dialect
    makes_a_difference = (
        needs_begin(cursor)
        or not only_reads(statement)
        or isolation_level_of(cursor, dialect.default_isolation_level) != _READ_COMMITTED
    )
    if makes_a_difference:
        _refuse_before_begin(context)
        return False
    with withheld_begin(cursor):
        dialect.do_execute(cursor, statement, parameters, context)
    return True


def _refuse_before_begin(*execution: Any) -> None:
    context: ExecutionContext = execution[-1]
    if context.execution_options.get(_BEFORE_BEGIN):
        raise TransactionNeededError


@lru_cache(maxsize=1_000)
def only_reads(statement: str) -> bool:
    """Tell whether *statement* is a query that locks nothing, calls no function but SQL's own and reads no clock.

    A comment at its end, as sqlcommenter adds one, is looked at as if it were a part of the statement.
    """
    statement = statement.rstrip()
    if statement.endswith("*/"):
        before, _, comment = statement.removesuffix("*/").rpartition("/*")
        statement = f"{before} {comment}"
    if not statement.startswith("SELECT ") or _MORE_THAN_READING.search(statement):
        return False
    names: list[str] = _NAME_BEFORE_PARENTHESIS.findall(statement)
    return all(name.isascii() and name.upper() in _HARMLESS for name in names)  # the long s would be an S
