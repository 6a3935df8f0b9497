"""Results of statements: how the columns of their rows are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.orm import context

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["read_by_position"]

ExecutableT = TypeVar("ExecutableT", bound=Executable)

_OPTION = "_result_disable_adapt_to_context"
_NO_OPTIONS: Mapping[str, Any] = {}
_OWN_OPTIONS = Undocumented(getattr(context, "_orm_load_exec_options", _NO_OPTIONS), _OPTION)  # of its own statements


def read_by_position(statement: ExecutableT) -> ExecutableT:
    """Return *statement*, whose rows are then read by position only, not by its columns.

    Uses the execution option `_result_disable_adapt_to_context`, which the ORM gives its own statements. Without it
    SQLAlchemy works out, for each statement that differs from the compiled one it shares, which column of the one stands
    for which of the other. No public option leaves that out. If it goes, rows are read as exactly, and more slowly.
    """
    return _with_option(statement) if has_option() else statement


def _with_option(statement: Any) -> Any:
    return statement.execution_options(**{_OPTION: True})


@cache
def has_option() -> bool:
    return SQLALCHEMY.offers("Reading rows by position", _OWN_OPTIONS)
