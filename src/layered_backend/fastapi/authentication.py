"""Dependencies on the principal of a request, which the OpenAPI document shows as well."""

# No deferred annotations: FastAPI could not look them up in an object that is called.

import re
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import Security
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows, SecurityBase
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from layered_backend.errors import PermissionDeniedError, UnauthenticatedError, UnitOfWorkError
from layered_backend.fastapi.actors import actor_of
from layered_backend.fastapi.cross_site import is_cross_site
from layered_backend.fastapi.installation import installation_of
from layered_backend.fastapi.security_schemes import StandInScheme
from layered_backend.memoization import unique
from layered_backend.upstream.fastapi import Scheme

if TYPE_CHECKING:
    from layered_backend.security import Principal  # which needs an extra

__all__ = ["CurrentPrincipal", "OptionalPrincipal", "TokenVerifier", "current_principal", "require_scopes"]

_PRINCIPALS = "layered_backend.principals"
_SCOPE = re.compile(r"[!#-[\]-~]+")  # RFC 6749, section 3.3


class TokenVerifier(Protocol):
    """A verifier of tokens, such as `AccessTokens`."""

    def verify(self, token: str, /) -> "Principal":
        """Return whom *token* names.

        Raises:
            UnauthenticatedError: It is not valid.
        """
        ...


class OptionalPrincipal(Scheme):
    """The dependency on the principal, if there is one. Lives as long as the application.

    Args:
        tokens: What verifies the request's token.
        model: What the OpenAPI document says of it.
        scheme_name: What the document calls it.
        cookie: The cookie that may hold the token where the header has none.
    """

    def __init__(self, tokens: TokenVerifier, model: OAuth2, scheme_name: str, *, cookie: str | None = None) -> None:
        super().__init__()
        self.model: SecurityBase = model
        self.scheme_name: str = scheme_name
        self._tokens = tokens
        self._cookie = cookie

    async def __call__(self, connection: HTTPConnection) -> "Principal | None":
        """Return whom the request's token names; None where it has none.

        Raises:
            UnauthenticatedError: The token is not valid.
            PermissionDeniedError: It is in the cookie, and another site's page has sent the request.
        """
        principals: dict[object, Principal | None] = connection.scope.setdefault(_PRINCIPALS, {})
        if self not in principals:
            token = _bearer_token(connection)
            principals[self] = self._by_cookie(connection) if token is None else self._tokens.verify(token)
        return principals[self]

    def _by_cookie(self, connection: HTTPConnection) -> "Principal | None":
        token = connection.cookies.get(self._cookie) if self._cookie else None
        if not token:
            return None
        try:
            principal = self._tokens.verify(token)
        except UnauthenticatedError:  # a browser sends it until it is told not to, to the page that logs in as well
            return None
        if is_cross_site(connection):
            raise PermissionDeniedError("the request comes from another site")
        return principal


class CurrentPrincipal(Scheme):
    """The dependency on the principal. Lives as long as the application.

    Attributes:
        optional: The dependency that returns None where the request has no credentials.
    """

    def __init__(self, optional: OptionalPrincipal) -> None:
        super().__init__()
        self.model: SecurityBase = optional.model
        self.scheme_name: str = optional.scheme_name
        self.optional = optional

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> "Principal":
        """Return whom the request's token names.

        Raises:
            UnauthenticatedError: There is no token, or it is not valid.
            PermissionDeniedError: It does not allow what `Security(..., scopes=[...])` asks for.
        """
        principal = await self.optional(connection)
        if principal is None:
            raise UnauthenticatedError(scopes=(*required.scopes,))
        _check(principal.scopes, required.scopes)
        return principal


def current_principal(
    tokens: TokenVerifier,
    *,
    token_url: str = "token",  # noqa: S107  # the place of a route
    scopes: Mapping[str, str] | None = None,
    scheme_name: str = "OAuth2PasswordBearer",
    cookie: str | None = None,
) -> CurrentPrincipal:
    """Return the dependency on the principal, whom the token in the header `Authorization: Bearer` names.

        get_principal = current_principal(tokens, scopes={"items:write": "Change items"})
        install(app, ShopUnitOfWork, principal=get_principal)

        @app.get("/me")
        async def read_me(principal: Annotated[Principal, Depends(get_principal)]) -> str: ...

    `Security(get_principal, scopes=["items:write"])` asks for scopes, and `Depends(get_principal.optional)` is None
    where the request has no credentials. A token is verified once a request.

    Args:
        tokens: What verifies a token: `AccessTokens`, or anything that has its `verify`.
        token_url: Where a client gets a token for a name and a password, for the OpenAPI document.
        scopes: What each scope is for, for the document.
        scheme_name: What the document calls it.
        cookie: The name of a cookie that holds the token of a browser, looked at where there is no such header. One that
            is not valid counts as none. A request that may change something is refused where another site's page has
            sent it (cross-site request forgery).
    """
    flow = OAuthFlowPassword(tokenUrl=token_url, scopes=dict(scopes or {}))
    return CurrentPrincipal(
        OptionalPrincipal(tokens, OAuth2(flows=OAuthFlows(password=flow)), scheme_name, cookie=cookie)
    )


def _bearer_token(connection: HTTPConnection) -> str | None:
    """Return the token of the request; None where it has none.

    Raises:
        UnauthenticatedError: It has two headers, of which a proxy may have looked at the other one.
    """
    headers = connection.headers.getlist("authorization")
    if len(headers) > 1:
        raise UnauthenticatedError("the request has several headers Authorization", is_refused=True)
    scheme, _, token = (headers[0] if headers else "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def require_scopes(*scopes: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the dependency that asks for *scopes* of the principal that `install` was given, and returns that.

        @router.delete("/{item_id}", dependencies=[Depends(require_scopes("items:write"))])

    It needs no principal to be written, so that routers know nothing of how the application authenticates; whatever
    `principal=` returns must have `scopes`. The same arguments give the same dependency.

    Raises:
        ValueError: There is no scope, or one is none: it has a blank, say.
    """
    if not scopes or not all(map(_SCOPE.fullmatch, scopes)):
        raise ValueError('scopes are words such as "items:write", each an argument of its own')
    return _scopes_dependency(scopes)


@unique
def _scopes_dependency(scopes: tuple[str, ...]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def check_scopes(actor: Annotated[Any, Security(_installed_actor, scopes=[*scopes])]) -> Any:
        return actor

    return check_scopes


class _InstalledActor(StandInScheme):
    """The dependency on the actor of the application that serves the request."""

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> Any:
        principal = installation_of(connection).principal
        if principal is None:
            raise UnitOfWorkError(
                "require_scopes() asks for the application's principal, and it has none; write "
                "install(app, ShopUnitOfWork, principal=get_principal)"
            )
        actor = await actor_of(connection, principal)
        if actor is None:
            raise UnauthenticatedError(scopes=(*required.scopes,))
        _check(_scopes_of(actor), required.scopes)
        return actor


_installed_actor = _InstalledActor()


def _scopes_of(actor: object) -> Collection[str]:
    scopes: Collection[str] | None = getattr(actor, "scopes", None)
    if scopes is None or isinstance(scopes, str):  # in which any part of a scope would be found
        raise UnitOfWorkError(f"an actor of type {type(actor).__name__} needs `scopes`, a set of text")
    return scopes


def _check(allowed: Collection[str], required: Collection[str]) -> None:
    missing = [scope for scope in required if scope not in allowed]
    if missing:
        raise PermissionDeniedError(f"this takes the scope {' '.join(missing)}", scopes=(*required,))
