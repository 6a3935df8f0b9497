"""Engines over a pool that lends connections of our own."""

from __future__ import annotations

import sqlite3

from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import ConnectionPoolEntry

from layered_backend.upstream.sqlalchemy.pooling import engine_lending, rename_savepoint, share_info, verify_pooling


def test_an_engine_asks_for_each_connection_and_shares_a_dialect() -> None:
    like = create_engine("sqlite://")
    lent: list[sqlite3.Connection] = []

    def lend() -> sqlite3.Connection:
        lent.append(sqlite3.connect(":memory:"))
        return lent[-1]

    verify_pooling()
    engine = engine_lending(lend, like, {"asked": "for"})
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
            driver: object = connection.connection.dbapi_connection
            assert driver is lent[-1]
            assert connection.get_execution_options()["asked"] == "for"

    assert len(lent) == 2
    assert engine.dialect is like.dialect
    like.dispose()


def test_connections_share_what_is_kept_with_them() -> None:
    engine, shared = create_engine("sqlite://"), {"lock": "held"}

    @event.listens_for(engine, "connect")
    def share(_driver: object, entry: ConnectionPoolEntry) -> None:
        share_info(entry, shared)

    with engine.connect() as connection:
        assert connection.info is shared
    engine.dispose()


def test_a_savepoint_of_sqlalchemy_is_renamed_in_each_of_its_statements() -> None:
    engine, sent = create_engine("sqlite://"), list[str]()
    event.listen(
        engine, "before_cursor_execute", lambda *execution: sent.append(rename_savepoint(execution[2], "mine"))
    )

    with engine.begin() as connection:
        with connection.begin_nested():
            pass
        connection.begin_nested().rollback()

    assert sent == [
        "SAVEPOINT mine_1",
        "RELEASE SAVEPOINT mine_1",
        "SAVEPOINT mine_2",
        "ROLLBACK TO SAVEPOINT mine_2",
    ]
    engine.dispose()
