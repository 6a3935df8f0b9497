"""The type arguments of a class: `Item` of `class ItemRepository(BaseRepository[Item])`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ForwardRef, get_args, get_origin

__all__ = ["resolved", "type_arguments"]


def type_arguments(cls: type, generic: object) -> tuple[Any, ...]:
    """Return what *cls* gives for each type parameter of its base class *generic*, through classes in between.

    A parameter that nothing fills is returned as it is, a `TypeVar`; names in quotes are looked up in the module of the
    class that wrote them.

    Raises:
        NameError: A name in quotes is not in that module.
    """
    return next(_arguments(cls, generic), ())


def _arguments(cls: type, generic: Any) -> Iterator[tuple[Any, ...]]:
    if cls is generic:
        yield vars(generic)["__parameters__"]
        return
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin: Any = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, generic)):
            continue
        given = dict(zip(getattr(origin, "__parameters__", ()), get_args(base), strict=False))
        for arguments in _arguments(origin, generic):
            yield tuple(resolved(given.get(argument, argument), cls) for argument in arguments)


def resolved(annotation: object, cls: object) -> object:
    """Return what *annotation*, written in the body or the bases of *cls*, stands for; *cls* may be a function too.

    A name in quotes is looked up in the module of *cls*, as `typing.get_type_hints` does.

    Raises:
        NameError: It is not there.
    """
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return eval(annotation, vars(sys.modules[cls.__module__]))  # noqa: S307  # the application's own source
    return annotation
