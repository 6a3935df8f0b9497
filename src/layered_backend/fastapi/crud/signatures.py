"""Functions with a signature that is made at run time, as FastAPI reads it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["endpoint_of", "signed"]


_OPTIONAL = frozenset({"if_match", "if_none_match"})


def signed(function: Callable[..., Any], annotations: Mapping[str, Any], *, optional: Collection[str] = ()) -> None:
    """Give *function* keyword-only parameters with those annotations; *optional* ones are None by default."""
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=None if name in optional else inspect.Parameter.empty,
        )
        for name, annotation in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # of functions, not of callables


def endpoint_of(operation: Callable[..., Any], model: type[Any], annotations: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function behind a route: *operation*, with those of the *annotations* that it has parameters for."""

    async def endpoint(**arguments: Any) -> Any:
        return await operation(**arguments)

    endpoint.__name__ = f"{operation.__name__}_{_snake_case(model.__name__)}"
    endpoint.__doc__ = operation.__doc__
    names = inspect.signature(operation).parameters
    signed(endpoint, {name: annotations[name] for name in names}, optional=_OPTIONAL)
    return endpoint


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
