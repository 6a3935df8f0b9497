"""Columns of tables: the functions that compute their defaults."""

from __future__ import annotations

import time
from functools import cache
from types import CodeType, FunctionType

from sqlalchemy.sql.schema import CallableColumnDefault

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["takes_no_context"]

_WRAPPING = Undocumented(CallableColumnDefault, "_maybe_wrap_callable")


def takes_no_context(default: object) -> bool:
    """Tell whether the function of a column's default, as SQLAlchemy keeps it, does without the statement's context.

    Uses the code of the two functions in which SQLAlchemy wraps a default that takes no argument; a default that takes the
    context is kept as it is. Nothing public tells them apart. If they change, every default counts as one that takes the
    context: SQLAlchemy then computes it row by row, and replacing an entity asks for a value instead of the default.
    """
    return isinstance(default, FunctionType) and default.__code__ in wrappers_of_defaults()


@cache
def wrappers_of_defaults() -> frozenset[CodeType]:
    if not SQLALCHEMY.offers("Computing the defaults of many rows at once", _WRAPPING):
        return frozenset()
    wrapped = (
        CallableColumnDefault(function).arg for function in (lambda: None, time.time)
    )  # with a signature, and without one
    return frozenset(function.__code__ for function in wrapped if isinstance(function, FunctionType))
