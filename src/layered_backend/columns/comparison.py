"""Comparison of values, of which `==` alone may say too much, too little, or nothing that is true or false."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Sized
from typing import Any, cast

__all__ = ["is_same_json", "is_same_value"]


def is_same_value(one: Any, other: Any) -> bool:
    """Tell whether two values are the same: not a number is the same as itself, and an array if all its items are.

    The offset from UTC does not count where only one has it, as SQLite stores none.
    """
    if one is other:
        return True
    if one is None or other is None:
        return False
    if _are(float, one, other):
        return bool(one == other) or (math.isnan(one) and math.isnan(other))
    if _are((tuple, list), one, other):
        return _are_same(one, other)
    if getattr(one, "tzinfo", None) is not None and getattr(other, "tzinfo", None) is None and hasattr(other, "tzinfo"):
        one = one.replace(tzinfo=None)
    try:
        return _is_true(one == other) and _size(one) == _size(other)
    except Exception:  # noqa: BLE001  # an array of another shape
        return False


def _are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(some) == len(others) and all(is_same_value(*pair) for pair in zip(some, others, strict=True))


def _are(kinds: type | tuple[type, ...], *values: object) -> bool:
    return all(isinstance(value, kinds) for value in values)


def _is_true(result: Any) -> bool:
    """Tell whether the *result* of a comparison is true, or all of its items where items were compared one by one."""
    return all(map(_is_true, result)) if _are(Iterable, result) else bool(result)


def _size(value: object) -> int | None:
    return len(value) if isinstance(value, Sized) else None


def is_same_json(one: object, other: object) -> bool:
    """Tell whether two values mean the same JSON: 1 is 1.0, and neither is true; the order of names does not count."""
    return bool(_with_truths_apart(one) == _with_truths_apart(other))


def _with_truths_apart(value: object) -> Any:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {name: _with_truths_apart(each) for name, each in items}
    if isinstance(value, (list, tuple)):
        return [_with_truths_apart(each) for each in cast("list[object]", value)]
    return ("truth", value) if isinstance(value, bool) else value
