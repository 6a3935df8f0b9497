"""Remembering what was computed from classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["memoized"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def memoized(function: FunctionT) -> FunctionT:
    """Do what `functools.cache` does, and keep the signature, which type checkers would lose for classes as arguments."""
    return cast("FunctionT", functools.cache(function))
