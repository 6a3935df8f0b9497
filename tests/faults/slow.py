"""Statements that take longer than a test waits for them, and rows that take their time."""

from __future__ import annotations

from sqlalchemy import TextClause, text

__all__ = ["slow_query", "slow_rows"]

# Each has rows that are not fetched yet when it is cut off. SQLite counts, for each of its rows: it cannot sleep.
_SLOW = {
    "postgresql": "SELECT pg_sleep(20), i FROM generate_series(1, 3) AS s(i)",
    "mariadb": "SELECT SLEEP(20), i FROM (SELECT 1 AS i UNION SELECT 2) AS s",
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 300), n(i) AS (SELECT 1 UNION ALL"
    " SELECT i + 1 FROM n WHERE i < 5000) SELECT (SELECT max(n.i + s.i) FROM n), i FROM s",
}


def slow_query(server: str) -> TextClause:
    """Return a query that takes far more than a moment on *server*, a key of `tests.databases.SERVERS` or `sqlite`."""
    return text(_SLOW[server])


_SLOW_ROWS = {
    "postgresql": "SELECT pg_sleep(0.002), i FROM generate_series(1, 200) AS s(i)",
    "mariadb": "SELECT SLEEP(0.002), seq, REPEAT('x', 30000) FROM seq_1_to_200",
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 200), n(i) AS (SELECT 1 UNION ALL"
    " SELECT i + 1 FROM n WHERE i < 5000) SELECT (SELECT max(n.i + s.i) FROM n), i FROM s",
}


def slow_rows(server: str) -> TextClause:
    """Return a query of 200 rows, each of which takes some milliseconds, and not all of which are sent at once."""
    return text(_SLOW_ROWS[server])
