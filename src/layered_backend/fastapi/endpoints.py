"""Checks of the functions behind routes."""

import inspect
from functools import lru_cache
from typing import Any, get_origin

from sqlalchemy.ext.asyncio import AsyncSession

from layered_backend.errors import UnitOfWorkError
from layered_backend.repository import BaseRepository
from layered_backend.service import BaseService
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["refuse_synchronous"]

_AWAITED = (UnitOfWork, BaseService, BaseRepository, AsyncSession)


def refuse_synchronous(endpoint: object) -> None:
    """Refuse a `def` route that takes what can only be awaited: FastAPI runs it in a thread, where it cannot await.

    A `def` route whose dependencies have done all the waiting is fine.

    Raises:
        UnitOfWorkError: It is one; the message names it and the parameter.
    """
    if inspect.isfunction(endpoint):
        _refuse_synchronous_function(endpoint)


@lru_cache(maxsize=1024)
def _refuse_synchronous_function(endpoint: Any) -> None:
    function = inspect.unwrap(endpoint)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return
    for name, annotation in _annotations(endpoint).items():
        if _is_awaited(annotation):
            raise UnitOfWorkError(
                f"the route {endpoint.__name__} takes {name}, whose methods must be awaited; write `async def`"
            )


def _annotations(function: Any) -> dict[str, Any]:
    try:
        return inspect.get_annotations(function, eval_str=True)
    except NameError:  # a name that only FastAPI's own resolution finds
        return {}


def _is_awaited(annotation: object) -> bool:
    annotated = getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
    kind = get_origin(annotated) or annotated
    return isinstance(kind, type) and issubclass(kind, _AWAITED)
