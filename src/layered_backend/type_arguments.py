"""The type arguments of a class: `Item` of `class ItemRepository(BaseRepository[Item])`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

__all__ = ["type_arguments"]


def type_arguments(cls: type, generic: type) -> tuple[Any, ...]:
    """Return what *cls* gives for each type parameter of its base class *generic*, through classes in between.

    A parameter that nothing fills is returned as it is, a `TypeVar`; names in quotes are looked up in the module of the
    class that wrote them.

    Raises:
        NameError: A name in quotes is not in that module.
    """
    return next(_arguments(cls, generic), ())


def _arguments(cls: type, generic: type) -> Iterator[tuple[Any, ...]]:
    if cls is generic:
        yield cls.__parameters__  # type: ignore[attr-defined]  # every Generic has them
        return
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin: Any = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, generic)):
            continue
        given = dict(zip(getattr(origin, "__parameters__", ()), get_args(base), strict=False))
        for arguments in _arguments(origin, generic):
            yield tuple(_resolved(given.get(argument, argument), cls) for argument in arguments)


def _resolved(argument: Any, cls: type) -> Any:
    if isinstance(argument, ForwardRef):
        argument = argument.__forward_arg__
    if isinstance(argument, str):
        return eval(argument, vars(sys.modules[cls.__module__]))  # the annotation of a class of the application
    return argument


def is_unfilled(argument: object) -> bool:
    """Tell whether *argument* is a type parameter that no class filled."""
    return isinstance(argument, TypeVar)
