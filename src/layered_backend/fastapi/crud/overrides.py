"""The methods that a service or its repository overrides: a router calls them and never bypasses them."""

from __future__ import annotations

from typing import Any

from layered_backend.memoization import memoized
from layered_backend.repository import BaseRepository, EntityReader
from layered_backend.service import SERVICE_READS, BaseService

__all__ = ["OF_LISTS", "OF_ONE", "own_reads", "reads_of"]

OF_ONE = frozenset({"get", "get_many", "get_or_none"})
"""The methods that listing does not call."""
OF_LISTS = frozenset(
    {"count", "cursor_page", "exists", "first", "list", "one", "one_or_none", "page", "slice", "stream"}
)
"""The methods that getting one entity does not call."""

_READS = frozenset(
    name
    for name, value in vars(EntityReader).items()
    if name != "project" and not name.startswith("__") and (callable(value) or isinstance(value, property))
)
_OF_SERVICE = SERVICE_READS | {"__getattribute__"}
_OF_REPOSITORY = _READS | {"__getattribute__"}


def own_reads(service: Any) -> frozenset[str]:
    """Return the names of what *service* and its repository read in their own way, by class or by instance."""
    repository = service.repository
    by_instance = _OF_SERVICE & {*_held(service)} | _OF_REPOSITORY & {*_held(repository)}
    return reads_of(_class_of(service), _class_of(repository)) | by_instance


@memoized
def reads_of(service: type[Any], repository: type[Any]) -> frozenset[str]:
    """Return the names of what the two classes read in their own way: not as `BaseService` and `BaseRepository` do."""
    return _replaced(service, BaseService, _OF_SERVICE) | _replaced(repository, BaseRepository, _OF_REPOSITORY)


def _replaced(kind: type[Any], base: type[Any], names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if getattr(kind, name, None) is not getattr(base, name))


def _held(instance: object) -> dict[str, Any]:
    return getattr(instance, "__dict__", {})


def _class_of(instance: object) -> type[Any]:
    return type(instance)
