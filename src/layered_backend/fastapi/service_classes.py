"""The classes behind a dependency on a service: the service, its repository and the mapped class, found without a request."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast, get_args, get_origin

from layered_backend.repository import BaseRepository
from layered_backend.service import BaseService, classes_of

__all__ = ["AnyService", "ServiceClasses", "classes_behind", "remember_classes"]

AnyService: TypeAlias = BaseService[Any, Any, Any, Any, Any]

_made_of: dict[
    Callable[..., Any], tuple[Any, Any, Any]
] = {}  # dependencies live as long as the process, and so do these


@dataclass(frozen=True)
class ServiceClasses:
    """The classes behind a dependency on a service. Lives as long as the process.

    Attributes:
        service: The service's class.
        repository: The class of its repository.
        model: The mapped class.
    """

    service: type[AnyService]
    repository: type[BaseRepository[Any]]
    model: type[Any]


def remember_classes(dependency: Callable[..., Any], service: object, repository: object, model: object) -> None:
    """Remember what `get_service` made *dependency* of; the last two are None where the service's type arguments say it."""
    _made_of[dependency] = (service, repository, model)


def classes_behind(dependency: Callable[..., Any]) -> ServiceClasses:
    """Return the classes behind *dependency*, which `get_service` has returned or the application has written.

    Raises:
        TypeError: It does not say which service it returns, or the service names no mapped class.
    """
    made_of: tuple[Any, Any, Any] = _made_of.get(dependency) or (_returned(dependency), None, None)
    returned, *classes = made_of
    service: object = get_origin(returned) or returned
    if not _is_service(service):
        name = getattr(dependency, "__name__", repr(dependency))
        raise TypeError(f"{name} does not say which BaseService it returns; write `-> ItemService`")
    kind = cast("type[AnyService]", service)
    return ServiceClasses(kind, *(classes_of(kind) if None in classes else classes))


def _is_service(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseService)


def _returned(dependency: Callable[..., Any]) -> object:
    annotation = inspect.signature(dependency, eval_str=True).return_annotation
    return get_args(annotation)[0] if get_origin(annotation) in {AsyncGenerator, AsyncIterator} else annotation
