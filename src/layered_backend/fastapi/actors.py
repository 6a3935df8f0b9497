"""The actor of a request: the value of the principal that the application was installed with."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, cast

from starlette.requests import HTTPConnection

__all__ = ["ActorSource", "PrincipalSource", "actor_of", "checked_source"]

ActorSource: TypeAlias = Callable[[HTTPConnection], Awaitable[Any]]
"""Finds out who makes a request, from the connection alone; None is nobody who is known."""


class HasOptionalForm(Protocol):
    """A dependency that has a form for requests without credentials, as `CurrentPrincipal` has."""

    @property
    def optional(self) -> ActorSource:
        """The form that returns None for them."""
        ...


PrincipalSource: TypeAlias = ActorSource | HasOptionalForm
"""The type of `install(principal=...)`."""

_ACTORS = "layered_backend.actors"


def checked_source(principal: PrincipalSource) -> PrincipalSource:
    """Return *principal*, which can be awaited with the connection alone.

    Raises:
        TypeError: It cannot.
    """
    source = _as_actor(principal)
    call = source if inspect.isroutine(source) else getattr(type(source), "__call__", source)  # noqa: B004  # its kind
    try:
        inspect.signature(source).bind("the connection")
    except (TypeError, ValueError):
        is_fitting = False
    else:
        is_fitting = inspect.iscoroutinefunction(call)
    if not is_fitting:
        raise TypeError(
            "principal= is awaited with the connection alone; give it what current_principal(...) returns, or write "
            "`async def get_actor(connection: HTTPConnection) -> ...`"
        )
    return principal


async def actor_of(connection: HTTPConnection, principal: PrincipalSource) -> object:
    """Return who makes the request, as *principal* says it; it is asked once.

    Raises:
        UnauthenticatedError: The credentials are not valid.
    """
    actors: dict[PrincipalSource, Any] = connection.scope.setdefault(_ACTORS, {})
    if principal not in actors:
        actors[principal] = await _asked(connection, principal)
    return actors[principal]


async def _asked(connection: HTTPConnection, principal: PrincipalSource) -> object:
    overrides: dict[Any, Any] = getattr(connection.scope.get("app"), "dependency_overrides", {})
    if principal not in overrides:
        return await _as_actor(principal)(connection)
    override = overrides[principal]
    given = override(connection) if inspect.signature(override).parameters else override()
    return await given if inspect.isawaitable(given) else given


def _as_actor(principal: PrincipalSource) -> ActorSource:
    """Return the form of *principal* that takes a request without credentials for one of nobody's."""
    return cast("ActorSource", getattr(principal, "optional", principal))
