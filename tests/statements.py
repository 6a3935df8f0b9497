"""Watching what a database is sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from tests.databases import Shop

__all__ = ["Statements"]


class Statements:
    """The statements that a database is sent in a block, by any engine, each with its number of rows; not those of transactions."""

    def __init__(self, shop: Shop) -> None:
        self._database = shop.database.url.database
        self.sent: list[tuple[str, int]] = []
        self.began = 0

    def _remember(self, connection: Any, cursor: Any, statement: str, *execution: Any) -> None:
        parameters, _, many = execution
        if connection.engine.url.database != self._database:
            return
        if statement.startswith("BEGIN"):
            self.began += 1
        elif not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA")):
            self.sent.append((statement, len(parameters) if many else 1))

    def __enter__(self) -> Statements:
        event.listen(Engine, "before_cursor_execute", self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._remember)
