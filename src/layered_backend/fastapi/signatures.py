"""Functions with a signature that is made at run time, as FastAPI reads it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from types import MethodType
from typing import Annotated, Any, Protocol, cast

__all__ = ["annotated", "endpoint_of", "signed"]


_OPTIONAL = frozenset({"if_match", "if_none_match"})


class _Signed(Protocol):
    """A function that says its signature itself; `inspect.signature` asks for that first."""

    __signature__: inspect.Signature


def annotated(kind: object, metadata: object) -> object:
    """Return `Annotated[kind, metadata]`, where *kind* is a type that only the running program knows."""
    special_form: Any = Annotated  # else type checkers read what is in the brackets as a type
    annotation: object = special_form[kind, metadata]
    return annotation


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
    cast("_Signed", function).__signature__ = inspect.Signature(parameters)


def endpoint_of(operation: MethodType, model: type[Any], annotations: Mapping[str, Any]) -> Callable[..., Any]:
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
