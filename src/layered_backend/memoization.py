"""Memoization of results that are computed from classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.orm import Mapper

__all__ = ["memoized", "unique"]

_SIZE = 1_000  # results: a client chooses some arguments, such as the fields to change

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def memoized(function: FunctionT) -> FunctionT:
    """Do what `functools.lru_cache` does, and keep the signature, which type checkers would lose for classes as arguments.

    The results are forgotten when a class is mapped, which may give others a relationship.
    """
    remembering = functools.lru_cache(maxsize=_SIZE)(function)
    event.listen(Mapper, "after_configured", remembering.cache_clear)
    return cast("FunctionT", remembering)


def unique(function: FunctionT) -> FunctionT:
    """Do what `functools.cache` does: the same arguments have the same result, which others know by its identity."""
    return cast("FunctionT", functools.cache(function))
