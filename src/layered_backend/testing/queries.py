"""Counting the statements that a database is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import overload

from sqlalchemy import Engine, event

__all__ = ["Queries", "count_queries"]

_OF_TRANSACTIONS = ("BEGIN", "START TRANSACTION", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "PRAGMA")


class Queries(Sequence[str]):
    """The statements that were sent, in order, without their values. Lives as long as a `count_queries` block."""

    def __init__(self) -> None:
        self._statements: list[str] = []

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._statements[index]

    def __len__(self) -> int:
        return len(self._statements)

    def __str__(self) -> str:
        """Return the statements, each once, behind how often it was sent."""
        return "\n".join(f"{times:>4} x  {' '.join(sql.split())}" for sql, times in Counter(self._statements).items())

    def remember(self, connection: object, cursor: object, statement: str, *execution: object) -> None:
        """Remember *statement*, unless it only begins or ends a transaction or a savepoint."""
        if not statement.startswith(_OF_TRANSACTIONS):
            self._statements.append(statement)


@contextmanager
def count_queries(exactly: int | None = None, *, at_most: int | None = None) -> Generator[Queries]:
    """Count the statements that any database is sent in the block; BEGIN, COMMIT and savepoints are none.

    Args:
        exactly: How many there must be; None for any number.
        at_most: How many there may be; None for any number.

    Raises:
        AssertionError: There were others than that many; the message holds their SQL.
    """
    queries = Queries()
    event.listen(Engine, "before_cursor_execute", queries.remember)
    try:
        yield queries
    finally:
        event.remove(Engine, "before_cursor_execute", queries.remember)
    if exactly is not None and len(queries) != exactly:
        raise AssertionError(f"{_told(len(queries))}, not {exactly}:\n{queries}")
    if at_most is not None and len(queries) > at_most:
        raise AssertionError(f"{_told(len(queries))}, more than {at_most}:\n{queries}")


def _told(count: int) -> str:
    return f"{count} {'query was' if count == 1 else 'queries were'} sent"
