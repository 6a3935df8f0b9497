"""The keys that tokens are signed with, and what tokens say."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, TypeAdapter, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from layered_backend.environment import Environment
from layered_backend.settings.base import Settings
from layered_backend.settings.problems import RefusedError
from layered_backend.settings.weak_keys import HOW_TO_MAKE, weakness_of

if TYPE_CHECKING:
    from layered_backend.security import AccessTokens

__all__ = ["SecuritySettings"]

_ONLY_KEY = "default"
_MANY_KEYS = 'write JSON with ids and keys, like {"2026-11": "...", "2026-05": "..."}'
_KEYS_BY_ID = TypeAdapter(dict[str, str])
_KEY_BYTES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}  # as long as the hash: RFC 7518, section 3.2


class SecuritySettings(Settings):
    """The keys that tokens are signed with, and what tokens say.

    There is one key, SECRET_KEY, or several by their ids, SECRET_KEYS: all are accepted, one signs. A key is refused that
    is too short for the algorithm, is out of a tutorial, or looks like a placeholder. In `Environment.TEST` a process
    that is given none makes one; everywhere else that is an error.

    Attributes:
        jwt_algorithm: HS256, HS384 or HS512, which need keys of 32, 48 and 64 bytes.
        secret_keys: The keys by id, as JSON; the newest first.
        secret_key: The only key, whose id is `default`.
        signing_key_id: The id of the key that signs; the first one's unless it is given.
        jwt_issuer: Who makes the tokens (`iss`).
        jwt_audience: Whom they are for (`aud`).
        jwt_leeway: Seconds by which clocks may differ, 0 to 300.
        access_token_lifetime: Seconds that an access token is valid, from 1 to 31 days.
    """

    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    secret_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(default_factory=dict[str, SecretStr])
    secret_key: SecretStr | None = Field(default=None, validate_default=True)
    signing_key_id: str | None = None
    jwt_issuer: str = Field(min_length=1, examples=["https://shop.example"])
    jwt_audience: str = Field(min_length=1, examples=["https://shop.example"])
    jwt_leeway: Annotated[int, Field(ge=0, le=5 * 60)] = 10
    access_token_lifetime: Annotated[int, Field(ge=1, le=31 * 24 * 60 * 60)] = 15 * 60

    @property
    def token_keys(self) -> Mapping[str, SecretStr]:
        """The keys by id, the one that signs first; a token that any of them has signed is accepted."""
        keys = {_ONLY_KEY: self.secret_key} if self.secret_key else self.secret_keys
        signing = self.signing_key_id
        return keys if signing is None else {signing: keys[signing], **keys}

    @property
    def signing_key(self) -> str:
        """The id of the key that signs."""
        return next(iter(self.token_keys))

    def access_tokens(self) -> AccessTokens:
        """Return what issues and verifies tokens as these settings have it; it needs the extra `security`."""
        from layered_backend.security import AccessTokens, TokenKeys  # the keys can be checked without it

        return AccessTokens(
            TokenKeys(self.token_keys, algorithm=self.jwt_algorithm),
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            lifetime=self.access_token_lifetime,
            leeway=self.jwt_leeway,
        )

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        with suppress(ValueError):  # of JSON's or of Pydantic's, either of which holds the secrets
            return _KEYS_BY_ID.validate_python(json.loads(value, object_pairs_hook=_without_duplicates))
        raise RefusedError(f"is no JSON of keys by id, {_MANY_KEYS}")

    @field_validator("secret_keys")
    @classmethod
    def _are_strong(cls, value: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        if "" in value:
            raise RefusedError(f"has a key without an id, {_MANY_KEYS}")
        for number, key in enumerate(
            value.values(), start=1
        ):  # by number: where id and key are mixed up, an id is secret
            _refuse_weak(key, f"has a key (number {number}) that", info)
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_strong(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return cls._missing(info)
        if info.data.get("secret_keys"):
            raise RefusedError("is set beside keys by id, keep one of the two variables")
        _refuse_weak(value, "", info)
        return value

    @classmethod
    def _missing(cls, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("secret_keys", True):  # there are some, or they have failed and are told of
            return None
        if info.data.get("environment") == Environment.TEST:
            return _key_of_this_process()
        raise RefusedError(f"is missing, {HOW_TO_MAKE}")

    @field_validator("signing_key_id")
    @classmethod
    def _is_a_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        keys = info.data.get("secret_keys") or {_ONLY_KEY: None}
        if value is not None and "secret_keys" in info.data and value not in keys:
            raise RefusedError("is the id of no key, set it to one that there is, or leave it out: the first key signs")
        return value


def _refuse_weak(key: SecretStr, beginning: str, info: ValidationInfo) -> None:
    weakness = weakness_of(key.get_secret_value(), at_least=_KEY_BYTES[info.data.get("jwt_algorithm", "HS256")])
    if weakness:
        raise RefusedError(f"{beginning} {weakness}, {HOW_TO_MAKE}".strip())


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ValueError("an id is there twice")
    return keys


@cache
def _key_of_this_process() -> SecretStr:
    return SecretStr(secrets.token_urlsafe(64))
