"""Access tokens: who somebody is and what they may do, signed (JSON Web Tokens, RFC 7519 and RFC 8725)."""

from __future__ import annotations

import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from layered_backend.errors import UnauthenticatedError
from layered_backend.security.keys import Secret, TokenKeys
from layered_backend.security.missing import missing_package
from layered_backend.security.principal import Principal

try:
    import jwt
except ModuleNotFoundError as _error:
    raise missing_package(_error) from _error

__all__ = ["AccessTokens"]

_logger = logging.getLogger("layered_backend")

_SCOPE = re.compile(r"[!#-[\]-~]+")  # RFC 6749, section 3.3
_REGISTERED = ("aud", "exp", "iat", "iss", "jti", "nbf", "scope", "sub")
_REQUIRED = ("aud", "exp", "iat", "iss", "sub")
_OPTIONS: Any = {"require": [*_REQUIRED], "verify_exp": False, "verify_iat": False, "verify_nbf": False}


class _RefusedError(Exception):
    """A token is refused for a reason that its sender does not learn."""


# Whatever a token that was made up makes of a parser of JSON: among them a nesting too deep, and a number too long.
_REFUSALS = (_RefusedError, jwt.PyJWTError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


class AccessTokens:
    """Issues and verifies access tokens. Lives as long as the process.

        tokens = AccessTokens(settings.secret_key, issuer="https://shop.example", audience="shop")
        token = tokens.issue("7", scopes=["items:write"])
        tokens.verify(token)                                # -> Principal(subject='7', ...)

    A token is verified by the keys alone: until it expires, nothing takes it back. So keep *lifetime* short.

    Args:
        keys: One key, several by `kid`, or `TokenKeys` for another algorithm than HS256.
        issuer: Who issues the tokens: the claim `iss`.
        audience: Whom they are for: the claim `aud`, of which a token may name several.
        lifetime: How long a new token is valid, in seconds.
        leeway: By how much the clocks of the issuer and of this process may differ, in seconds.
        clock: Tells the time, in seconds since 1970.

    Attributes:
        largest: The most bytes that a token may have; a larger one is refused unread.

    Raises:
        ValueError: A key does not fit, *issuer* or *audience* is empty, or a time is negative.
    """

    largest: int = 8_192

    def __init__(
        self,
        keys: TokenKeys | Secret | Mapping[str, Secret],
        *,
        issuer: str,
        audience: str,
        lifetime: int = 15 * 60,  # 15 minutes, in seconds
        leeway: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys: TokenKeys = keys if isinstance(keys, TokenKeys) else TokenKeys(keys)
        if not (issuer and audience):
            raise ValueError("tokens have an issuer and an audience; without them, those of another service would fit")
        if lifetime <= 0 or leeway < 0:
            raise ValueError("lifetime is more than 0 seconds, and leeway is not less")
        self.issuer = issuer
        self.audience = audience
        self.lifetime = lifetime
        self.leeway = leeway
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.issuer!r} for {self.audience!r}, {self.keys!r}>"

    def issue(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        lifetime: int | None = None,
    ) -> str:
        """Return a new token. Whoever holds it can read all that it says.

        Args:
            subject: Whom it is of: the key of a user, the name of a service.
            scopes: What it allows.
            claims: What else it says: values of JSON.
            lifetime: How long it is valid, in seconds; as long as all unless it is given.

        Raises:
            ValueError: *subject* is empty, a scope or *lifetime* is none, *claims* sets what has a meaning of its own, the
                token is too large, or the first key is public.
        """
        given = dict(claims or {})
        reserved = sorted(given.keys() & set(_REGISTERED))
        if reserved:
            raise ValueError(f"the claims {', '.join(reserved)} are set by the library; leave them out")
        valid_for = self.lifetime if lifetime is None else lifetime
        if not subject or valid_for <= 0:
            raise ValueError("a token needs a subject, and a lifetime of more than 0 seconds")
        kid, key = self.keys.signing()
        token = jwt.encode(
            {**given, **self._registered(subject, scopes, valid_for)},
            key,
            self.keys.algorithm,
            headers=None if kid is None else {"kid": kid},
        )
        if len(token) > self.largest:
            raise ValueError(
                f"the token has more than {self.largest} bytes, and would be refused; give it fewer claims"
            )
        return token

    def _registered(self, subject: str, scopes: Iterable[str], lifetime: int) -> dict[str, Any]:
        now = int(self._clock())
        allowed = " ".join(map(_named_scope, dict.fromkeys(scopes)))
        return {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
            "jti": secrets.token_hex(16),
            **({"scope": allowed} if allowed else {}),
        }

    def verify(self, token: str) -> Principal:
        """Return whom *token* names.

        Raises:
            UnauthenticatedError: It is not valid, and the message does not say why: that is logged for debugging.
        """
        try:
            return self._principal(self._claims(token))
        except _REFUSALS as error:
            # Of others' errors the kind alone: their text may hold a part of the token.
            reason = str(error) if isinstance(error, _RefusedError) else type(error).__name__
        _logger.debug("an access token was refused: %s", reason)
        raise UnauthenticatedError("the token is not valid", is_refused=True)

    def _claims(self, token: str) -> dict[str, Any]:
        if not token.isascii() or len(token) > self.largest:
            raise _RefusedError("it is too large, or has characters that no token has")
        header = jwt.get_unverified_header(token)
        if header.get("alg") != self.keys.algorithm or header.keys() & {"b64", "crit"}:
            raise _RefusedError("it names another algorithm, or something that is critical to know")
        key = self.keys.verifying(header.get("kid"))
        if key is None:
            raise _RefusedError("it names a key that is not known")
        claims = jwt.decode(
            token,
            key,
            algorithms=[self.keys.algorithm],
            options=_OPTIONS,
            audience=self.audience,
            issuer=self.issuer,
        )
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if _moment(claims["exp"]) <= now - self.leeway:
            raise _RefusedError("it has expired")
        if max(_moment(claims["iat"]), _moment(claims.get("nbf", 0))) > now + self.leeway:
            raise _RefusedError("it is not valid yet")

    def _principal(self, claims: dict[str, Any]) -> Principal:
        subject: object = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise _RefusedError("its subject is no text")
        return Principal(subject, _scopes(claims.get("scope", "")), claims)


def _named_scope(scope: str) -> str:
    if not _SCOPE.fullmatch(scope):
        raise ValueError(f"{scope!r} is no scope: it has a blank, a quote or a character beyond ASCII")
    return scope


def _moment(claim: object) -> float:
    """Return a claim in seconds since 1970."""
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not math.isfinite(claim):
        raise _RefusedError("a time is no number")
    return claim


def _scopes(claim: object) -> frozenset[str]:
    """Return the scopes of a claim: a text with blanks between them (RFC 8693, section 4.2), or a list."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list) and all(isinstance(scope, str) for scope in cast("list[object]", claim)):
        return frozenset(cast("list[str]", claim))
    raise _RefusedError("its scopes are no text")
