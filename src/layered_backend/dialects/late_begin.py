"""BEGIN only where a statement could tell the difference.

Under READ COMMITTED each statement of a transaction sees what is committed when it begins, which is what it sees outside
of a transaction too. So the reads before the first statement that writes, locks or calls a function are sent as they are,
and a unit of work that only reads saves two of its three round trips. asyncpg's adapter sends BEGIN by itself before the
first statement; it is told not to yet. And until then a read needs no session either: any connection will do.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExecutionContext

from layered_backend.errors import LayeredError

__all__ = ["TransactionNeededError", "begin_late", "has_begun", "only_reads", "reading_alone"]

_READ_COMMITTED = "READ COMMITTED"
_NAME_BEFORE_PARENTHESIS = re.compile(r"""([\w$.\x80-\U0010FFFF]+|")\s*\(""")
# FOR UPDATE, SELECT INTO, a second statement, a comment that may stand between a name and its parenthesis.
_MORE_THAN_READING = re.compile(r"\b(FOR|INTO)\b|;|--|/\*", re.IGNORECASE)
# What may stand before a parenthesis and does nothing but compute: keywords, types and functions of SQL itself.
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


_ALONE = "layered_backend_reads_alone"


class TransactionNeededError(LayeredError):
    """A statement that was to be sent outside of a transaction belongs into one; it was not sent."""


def reading_alone(engine: Engine) -> Engine:
    """Return *engine*, sharing its pool, with connections that send nothing but reads which need no transaction."""
    return engine.execution_options(**{_ALONE: True})


def begin_late(engine: Engine) -> None:
    """Have the connections of *engine*, of asyncpg, begin a transaction only where a statement needs it."""
    event.listen(engine, "do_execute", _execute_without_begin)
    event.listen(engine, "do_execute_no_params", _refuse_alone)
    event.listen(engine, "do_executemany", _refuse_alone)


def has_begun(connection: Connection) -> bool:
    """Tell whether BEGIN was sent."""
    adapted: Any = connection.connection.dbapi_connection
    return adapted._transaction is not None


def _execute_without_begin(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    """Execute *statement* where BEGIN makes no difference to it, and tell whether that was done."""
    adapted = cursor._adapt_connection
    if adapted._transaction is not None:
        return False
    # Read-only is a promise that only the database can keep: a view's function may write.
    is_late = not (adapted.readonly or cursor.server_side) and only_reads(statement)
    if not (is_late and _is_read_committed(adapted, context.dialect)):
        _refuse_alone(context)
        return False
    adapted.autocommit = True
    try:
        context.dialect.do_execute(cursor, statement, parameters, context)
    finally:
        adapted.autocommit = False  # which is to say: as the engine has it; a cursor past SQLAlchemy begins
    return True


def _refuse_alone(*execution: Any) -> None:
    context: ExecutionContext = execution[-1]
    if context.execution_options.get(_ALONE):
        raise TransactionNeededError


def _is_read_committed(adapted: Any, dialect: Any) -> bool:
    level = adapted._isolation_setting or dialect.default_isolation_level or ""
    return level.replace("_", " ").upper() == _READ_COMMITTED


@lru_cache(maxsize=1_000)
def only_reads(statement: str) -> bool:
    """Tell whether *statement* is a query that locks nothing and calls none but functions of SQL itself."""
    if not statement.startswith("SELECT ") or _MORE_THAN_READING.search(statement):
        return False
    return all(name.upper() in _HARMLESS for name in _NAME_BEFORE_PARENTHESIS.findall(statement))
