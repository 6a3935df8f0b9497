"""Remembering what was computed from classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.orm import Mapper

__all__ = ["memoized", "unique"]

_SIZE = 1_000  # results: what a client chooses, such as the fields to change, is among the arguments

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def memoized(function: FunctionT) -> FunctionT:
    """Do what `functools.lru_cache` does, and keep the signature, which type checkers would lose for classes as arguments.

    A class that is mapped later may give others a relationship, so all is forgotten then.
    """
    remembering = functools.lru_cache(maxsize=_SIZE)(function)
    event.listen(Mapper, "after_configured", remembering.cache_clear)
    return cast("FunctionT", remembering)


def unique(function: FunctionT) -> FunctionT:
    """Do what `functools.cache` does: the same arguments have the same result, which others know by its identity."""
    return cast("FunctionT", functools.cache(function))
