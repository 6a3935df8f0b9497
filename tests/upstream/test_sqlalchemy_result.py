"""What SQLAlchemy does not document of results, and what follows where it is gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Select, Table, create_engine, insert, select
from sqlalchemy.engine.cursor import CursorResultMetaData
from sqlalchemy.orm import context

from layered_backend.upstream.sqlalchemy import result as seam
from layered_backend.upstream.sqlalchemy.result import read_by_position
from layered_backend.upstream.verification import Undocumented

_NUMBERS = Table("numbers", MetaData(), Column("number", Integer))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    _NUMBERS.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def adaptations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What SQLAlchemy does for a statement that shares the compiled form of another one, a member for each time."""
    counted: list[object] = []
    adapt: Any = getattr(CursorResultMetaData, "_adapt_to_context")  # noqa: B009  # private to type checkers

    def adapt_counted(metadata: CursorResultMetaData, of: object) -> object:
        counted.append(of)
        return adapt(metadata, of)

    monkeypatch.setattr(CursorResultMetaData, "_adapt_to_context", adapt_counted)
    return counted


def _statement(number: int) -> Select[Any]:
    return select(_NUMBERS.c.number).where(_NUMBERS.c.number > number)


def test_rows_are_read_by_position_without_looking_for_columns(engine: Engine, adaptations: list[object]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(_NUMBERS), [{"number": 1}, {"number": 2}])
        rows = [connection.execute(read_by_position(_statement(number))).all() for number in (0, 1, 2)]

    assert [[tuple(row) for row in each] for each in rows] == [[(1,), (2,)], [(2,)], []]
    assert adaptations == []


def test_without_the_option_sqlalchemy_looks_for_them(engine: Engine, adaptations: list[object]) -> None:
    with engine.connect() as connection:
        for number in (0, 1, 2):
            connection.execute(_statement(number)).all()

    assert len(adaptations) == 2, "SQLAlchemy does not do it any more: `read_by_position` can go"


def test_where_it_is_gone_statements_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seam.has_option.cache_clear()
    monkeypatch.setattr(seam, "_OWN_OPTIONS", Undocumented(context, "gone"))
    statement = _statement(1)
    try:
        with caplog.at_level(logging.WARNING, "layered_backend"):
            assert read_by_position(statement) is statement
            assert read_by_position(statement) is statement
    finally:
        seam.has_option.cache_clear()

    (message,) = caplog.messages
    assert message.startswith("Reading rows by position is switched off: sqlalchemy ")
