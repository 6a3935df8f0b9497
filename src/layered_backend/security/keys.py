"""The keys that sign and verify access tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from layered_backend.security.missing import missing_package

try:
    from jwt.algorithms import get_default_algorithms
    from jwt.exceptions import InvalidKeyError
except ModuleNotFoundError as _error:
    raise missing_package(_error) from _error

__all__ = ["Secret", "SecretHolder", "TokenKeys"]

# A key as long as the digest, in bytes (RFC 7518, section 3.2).
_SYMMETRIC = {"HS256": 32, "HS384": 48, "HS512": 64}
_ASYMMETRIC = ("EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
_RSA_BITS = 2_048  # RFC 7518, section 3.3


class SecretHolder(Protocol):
    """An object that keeps a secret out of its own `repr`, as Pydantic's `SecretStr` does."""

    def get_secret_value(self) -> str | bytes:
        """Return the secret."""
        ...


Secret: TypeAlias = str | bytes | SecretHolder
"""A key: a text or bytes for HS256 and the like, in PEM for the asymmetric algorithms."""


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    """A key, as the algorithm takes it: *signing* is None where it can only verify."""

    signing: Any
    verifying: Any


class TokenKeys:
    """The keys of one algorithm, by the `kid` that a token names. Lives as long as the process.

        TokenKeys({"2026-11": new, "2026-05": old})         # the first one signs, all of them verify
        TokenKeys(public_key, algorithm="EdDSA")            # verifies what another service has signed

    To rotate, put the new key in front, and take the old one away when its last token has expired. The key of tokens
    that name none has the `kid` None, as a key that is given alone has.

    Args:
        keys: One key, or several by `kid`.
        algorithm: The one that tokens are signed with: HS256, HS384 or HS512, or with `pyjwt[crypto]` EdDSA or one of
            the families ES, RS and PS. A token that names another one is refused.

    Raises:
        ValueError: The algorithm is not known, there is no key, or one does not fit; the message does not hold it.
    """

    def __init__(self, keys: Secret | Mapping[str | None, Secret] | Mapping[str, Secret], *, algorithm: str = "HS256"):
        by_kid: Mapping[Any, Secret] = keys if isinstance(keys, Mapping) else {None: keys}
        if not by_kid:
            raise ValueError("there is no key to sign or verify tokens with")
        self.algorithm = algorithm
        rule = _rule(algorithm)
        self._keys = {kid: _prepared(rule, algorithm, kid, _value(key)) for kid, key in by_kid.items()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.algorithm}, kid {', '.join(map(repr, self._keys))}>"

    def signing(self) -> tuple[str | None, Any]:
        """Return the `kid` of the key that signs, and the key.

        Raises:
            ValueError: The first key is public.
        """
        kid, key = next(iter(self._keys.items()))
        if key.signing is None:
            raise ValueError(f"the key {_named(kid)} is public and can only verify; put the private one first")
        return kid, key.signing

    def verifying(self, kid: str | None) -> Any:
        """Return the key of that `kid`; None where there is none."""
        key = self._keys.get(kid)
        return None if key is None else key.verifying


def _value(key: Secret) -> bytes:
    value = key if isinstance(key, str | bytes) else key.get_secret_value()
    return value.encode() if isinstance(value, str) else value


def _named(kid: str | None) -> str:
    return "without kid" if kid is None else repr(kid)


def _rule(algorithm: str) -> object:
    """Return how PyJWT computes *algorithm*."""
    if algorithm not in {*_SYMMETRIC, *_ASYMMETRIC}:
        raise ValueError(f"{algorithm!r} signs no tokens here; write one of {', '.join((*_SYMMETRIC, *_ASYMMETRIC))}")
    rules = get_default_algorithms()
    if algorithm not in rules:
        raise ModuleNotFoundError(f"{algorithm} needs a package: pip install 'pyjwt[crypto]'", name="cryptography")
    return rules[algorithm]


def _prepared(rule: Any, algorithm: str, kid: str | None, value: bytes) -> _Key:
    try:
        prepared = rule.prepare_key(value)
    except (InvalidKeyError, TypeError, ValueError):
        # What it raised may hold a part of the key.
        raise ValueError(f"the key {_named(kid)} is none of {algorithm}; {_expected(algorithm)}") from None
    if algorithm in _SYMMETRIC:
        if len(value) < _SYMMETRIC[algorithm]:
            raise ValueError(f"the key {_named(kid)} is too short for {algorithm}; {_expected(algorithm)}")
        return _Key(prepared, prepared)
    bits = getattr(prepared, "key_size", _RSA_BITS)
    if algorithm.startswith(("RS", "PS")) and bits < _RSA_BITS:
        raise ValueError(f"the key {_named(kid)} has {bits} bits; {algorithm} needs {_RSA_BITS}")
    return _Key(prepared, prepared.public_key()) if hasattr(prepared, "public_key") else _Key(None, prepared)


def _expected(algorithm: str) -> str:
    if algorithm in _SYMMETRIC:
        length = _SYMMETRIC[algorithm]
        return (
            f'it needs at least {length} random bytes: python -c "import secrets; print(secrets.token_hex({length}))"'
        )
    return "it needs a key in PEM"
