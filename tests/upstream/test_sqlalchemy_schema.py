"""What SQLAlchemy does not document of columns, and what follows where it is gone."""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, ColumnDefault

from layered_backend.upstream.sqlalchemy import schema as seam
from layered_backend.upstream.sqlalchemy.schema import takes_no_context
from layered_backend.upstream.verification import Undocumented


def _of_context(context: Any) -> int:
    return 1


def _with_options(size: int = 1) -> int:
    return size


def _kept(function: Any) -> Any:
    """Return *function* as a column keeps it."""
    column: Column[Any] = Column("value", default=function)
    assert isinstance(column.default, ColumnDefault)
    return column.default.arg


@pytest.mark.parametrize("function", [uuid.uuid4, time.time, lambda: 1, dict, _with_options, functools.partial(int, 1)])
def test_a_default_that_takes_nothing_is_known(function: Callable[[], object]) -> None:
    kept = _kept(function)

    assert takes_no_context(kept)
    kept(None)


def test_a_default_that_takes_the_context_is_known() -> None:
    assert not takes_no_context(_kept(_of_context))
    assert not takes_no_context(7)


def test_where_it_is_gone_every_default_counts_as_one_that_takes_the_context(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = _kept(uuid.uuid4)
    seam.wrappers_of_defaults.cache_clear()
    monkeypatch.setattr(seam, "_WRAPPING", Undocumented(object, "gone"))
    try:
        with caplog.at_level(logging.WARNING, "layered_backend"):
            assert not takes_no_context(kept)
            assert not takes_no_context(kept)
    finally:
        seam.wrappers_of_defaults.cache_clear()

    (message,) = caplog.messages
    assert message.startswith("Computing the defaults of many rows at once is switched off: sqlalchemy ")
