"""Access tokens, and what an attacker may send in place of one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from layered_backend import UnauthenticatedError
from layered_backend.security import AccessTokens, TokenKeys

KEY = "a key of thirty-two bytes or more"
OTHER_KEY = "a key that is not ours, of so many bytes"
NOW = 1_800_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def _tokens(keys: Any = KEY, **options: Any) -> AccessTokens:
    given: dict[str, Any] = {"issuer": "https://shop.example", "audience": "shop", "clock": Clock()} | options
    return AccessTokens(keys, **given)


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {"iss": "https://shop.example", "aud": "shop", "sub": "ann", "iat": NOW, "exp": NOW + 60} | changes
    return {name: value for name, value in claims.items() if value is not ...}


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _signed(header: Any, claims: Any, key: str | bytes = KEY, digest: Any = hashlib.sha256) -> str:
    """Return a token with that header, whatever is in it: PyJWT would refuse to make most of these."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)]
    text = ".".join(map(_encoded, parts))
    secret = key.encode() if isinstance(key, str) else key
    return f"{text}.{_encoded(hmac.new(secret, text.encode(), digest).digest())}"


HEADER = {"alg": "HS256", "typ": "JWT"}


def _with(claim: str, value: Any) -> str:
    return _signed(HEADER, _claims(**{claim: value}))


def _pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def _public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


class TestIssuing:
    def test_what_is_issued_is_verified(self) -> None:
        tokens = _tokens()

        principal = tokens.verify(tokens.issue("ann", scopes=["items:read", "items:write"], claims={"tenant_id": 7}))

        assert principal.subject == "ann"
        assert principal.scopes == {"items:read", "items:write"}
        assert principal.claims["tenant_id"] == 7
        assert principal.claims["exp"] - principal.claims["iat"] == 15 * 60

    def test_each_token_has_an_id_of_its_own(self) -> None:
        tokens = _tokens()

        ids = {tokens.verify(tokens.issue("ann")).claims["jti"] for _ in range(10)}

        assert len(ids) == 10

    def test_a_token_can_be_valid_for_a_time_of_its_own(self) -> None:
        tokens = _tokens()

        assert tokens.verify(tokens.issue("ann", lifetime=5)).claims["exp"] == NOW + 5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"claims": {"sub": "bob", "exp": 1}}, "the claims exp, sub are set by the library"),
            ({"claims": {"scope": "admin"}}, "the claims scope are set"),
            ({"scopes": ["items:read admin"]}, "'items:read admin' is no scope"),
            ({"scopes": ['a"b']}, "is no scope"),
            ({"lifetime": 0}, "a lifetime of more than 0 seconds"),
            ({"claims": {"picture": "x" * 8_000}}, "more than 8192 bytes"),
        ],
    )
    def test_what_could_not_be_verified_as_it_is_meant_is_not_issued(self, options: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            _tokens().issue("ann", **options)

    def test_a_token_needs_a_subject(self) -> None:
        with pytest.raises(ValueError, match="needs a subject"):
            _tokens().issue("")

    @pytest.mark.parametrize("options", [{"issuer": ""}, {"audience": ""}, {"lifetime": 0}, {"leeway": -1}], ids=str)
    def test_what_leaves_tokens_unchecked_is_refused(self, options: Any) -> None:
        with pytest.raises(ValueError, match=r"issuer and an audience|lifetime"):
            _tokens(**options)


REFUSED: dict[str, Callable[[], str]] = {
    "algorithm none": lambda: jwt.encode(_claims(), "", "none"),
    "algorithm none, signed": lambda: _signed({"alg": "none"}, _claims()),
    "algorithm None": lambda: _signed({"alg": "None"}, _claims()),
    "no algorithm": lambda: _signed({"typ": "JWT"}, _claims()),
    "an algorithm that is no text": lambda: _signed({"alg": ["HS256"]}, _claims()),
    "another algorithm, our key": lambda: _signed({"alg": "HS512"}, _claims(), digest=hashlib.sha512),
    "the name of our algorithm, another digest": lambda: _signed(HEADER, _claims(), digest=hashlib.sha512),
    "expired": lambda: _signed(HEADER, _claims(exp=NOW - 10)),
    "issued in the future": lambda: _signed(HEADER, _claims(iat=NOW + 11)),
    "not valid yet": lambda: _signed(HEADER, _claims(nbf=NOW + 11)),
    "another audience": lambda: _signed(HEADER, _claims(aud="bank")),
    "other audiences": lambda: _signed(HEADER, _claims(aud=["bank", "shops"])),
    "an audience that is a part of ours": lambda: _signed(HEADER, _claims(aud="sho")),
    "an audience that is no text": lambda: _signed(HEADER, _claims(aud={"shop": True})),
    "another issuer": lambda: _signed(HEADER, _claims(iss="https://shop.example.evil")),
    "an issuer that is a part of ours": lambda: _signed(HEADER, _claims(iss="https://shop")),
    "an issuer that is no text": lambda: _signed(HEADER, _claims(iss=["https://shop.example"])),
    **{f"no {claim}": partial(_with, claim, ...) for claim in _claims()},
    **{f"{claim} of None": partial(_with, claim, None) for claim in _claims()},
    "a subject that is no text": lambda: _signed(HEADER, _claims(sub=7)),
    "an empty subject": lambda: _signed(HEADER, _claims(sub="")),
    "an expiry that is text": lambda: _signed(HEADER, _claims(exp=str(NOW + 60))),
    "an expiry that is true": lambda: _signed(HEADER, _claims(exp=True)),
    "an endless expiry": lambda: _signed(HEADER, _claims(exp=float("inf"))),
    "an expiry that is no number": lambda: _signed(HEADER, _claims(exp=float("nan"))),
    "an issue that is no number": lambda: _signed(HEADER, _claims(iat=float("nan"))),
    "scopes that are a number": lambda: _signed(HEADER, _claims(scope=7)),
    "scopes that are numbers": lambda: _signed(HEADER, _claims(scope=["items:read", 7])),
    "an id that is no text": lambda: _signed(HEADER, _claims(jti=7)),
    "a tampered subject": lambda: _with_claims(_signed(HEADER, _claims()), _claims(sub="root")),
    "a tampered signature": lambda: _signed(HEADER, _claims())[:-4] + "AAAA",
    "no signature": lambda: _signed(HEADER, _claims()).rpartition(".")[0] + ".",
    "two parts": lambda: _signed(HEADER, _claims()).rpartition(".")[0],
    "four parts": lambda: _signed(HEADER, _claims()) + ".AAAA",
    "another key": lambda: _signed(HEADER, _claims(), OTHER_KEY),
    "an empty key": lambda: _signed(HEADER, _claims(), ""),
    "a kid where there is none": lambda: _signed(HEADER | {"kid": "1"}, _claims()),
    "an empty kid": lambda: _signed(HEADER | {"kid": ""}, _claims()),
    "a kid that is a path": lambda: _signed(HEADER | {"kid": "../../dev/null"}, _claims(), ""),
    "a kid that is no text": lambda: _signed(HEADER | {"kid": ["1"]}, _claims()),
    "a key of its own": lambda: _signed(
        HEADER | {"jwk": {"kty": "oct", "k": _encoded(b"x" * 32)}}, _claims(), "x" * 32
    ),
    "something critical": lambda: _signed(HEADER | {"crit": ["exp"]}, _claims()),
    "nothing critical": lambda: _signed(HEADER | {"crit": []}, _claims()),
    "a payload that is not encoded": lambda: _signed(HEADER | {"b64": False, "crit": ["b64"]}, _claims()),
    "a header that is a list": lambda: _signed(["HS256"], _claims()),
    "a header that is no JSON": lambda: _signed(b"{", _claims()),
    "a header that is no text": lambda: _signed(b"\xff\xfe", _claims()),
    "a header that is nested deep": lambda: _signed(b"[" * 5_000, _claims()),
    "claims that are a list": lambda: _signed(HEADER, [1]),
    "claims that are no JSON": lambda: _signed(HEADER, b"sub=ann"),
    "claims that are nested deep": lambda: _signed(HEADER, b"[" * 5_000),
    "a number too long": lambda: _signed(HEADER, b'{"exp": ' + b"9" * 5_000 + b"}"),
    "too large": lambda: _signed(HEADER, _claims(picture="x" * 8_192)),
    "nothing": lambda: "",
    "dots": lambda: "..",
    "blanks around it": lambda: f" {_signed(HEADER, _claims())} ",
    "a line behind it": lambda: _signed(HEADER, _claims()) + "\n",
    "letters beyond ASCII": lambda: _signed(HEADER, _claims()) + "ä",
    "half of a surrogate pair": lambda: "\ud800",
}


def _with_claims(token: str, claims: Any) -> str:
    header, _, signature = token.split(".")
    return ".".join((header, _encoded(json.dumps(claims).encode()), signature))


class TestAttacks:
    def test_the_tokens_of_these_tests_are_valid_but_for_what_is_tested(self) -> None:
        assert _tokens().verify(_signed(HEADER, _claims())).subject == "ann"

    @pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
    def test_it_is_refused_and_nobody_learns_why(self, make: Callable[[], str]) -> None:
        with pytest.raises(UnauthenticatedError) as caught:
            _tokens().verify(make())

        assert (str(caught.value), caught.value.is_refused) == ("the token is not valid", True)
        assert caught.value.__cause__ is caught.value.__context__ is None, "which may hold a part of the token"

    @settings(deadline=None)
    @given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True))
    def test_whatever_is_sent_is_refused(self, token: str) -> None:
        with pytest.raises(UnauthenticatedError):
            _tokens().verify(token)

    @settings(deadline=None)
    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
    def test_a_claim_of_any_kind_is_refused_or_read(self, value: Any) -> None:
        for name in (*_claims(), "nbf", "jti", "scope"):
            try:
                principal = _tokens().verify(_signed(HEADER, _claims(**{name: value})))
            except UnauthenticatedError:
                continue
            assert isinstance(principal.subject, str)

    def test_a_large_token_is_not_even_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(*_: Any) -> None:
            raise AssertionError

        monkeypatch.setattr(jwt, "get_unverified_header", read)

        with pytest.raises(UnauthenticatedError):
            _tokens().verify("x" * 8_193)

    def test_the_log_says_why_and_holds_nothing_of_the_token(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, "layered_backend"):
            for make in REFUSED.values():
                with pytest.raises(UnauthenticatedError):
                    _tokens().verify(make())

        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == len(REFUSED)
        assert "an access token was refused: it has expired" in messages
        assert not [message for message in messages if "ann" in message or "dev/null" in message or "eyJ" in message]

    def test_the_last_of_two_algorithms_in_the_header_counts_for_everybody(self) -> None:
        header = b'{"alg": "none", "alg": "HS256"}'

        assert _tokens().verify(_signed(header, _claims())).subject == "ann"
        with pytest.raises(UnauthenticatedError):
            _tokens().verify(_signed(b'{"alg": "HS256", "alg": "none"}', _claims()))


class TestTimes:
    def test_a_token_is_valid_until_it_expires_and_for_the_leeway(self) -> None:
        clock = Clock()
        tokens = _tokens(clock=clock, lifetime=60, leeway=5)
        token = tokens.issue("ann")

        clock.now = NOW + 64.9
        assert tokens.verify(token)
        clock.now = NOW + 65
        with pytest.raises(UnauthenticatedError):
            tokens.verify(token)

    def test_a_token_of_a_clock_that_is_ahead_is_valid_within_the_leeway(self) -> None:
        assert _tokens(leeway=5).verify(_signed(HEADER, _claims(iat=NOW + 5, nbf=NOW + 5)))
        with pytest.raises(UnauthenticatedError):
            _tokens(leeway=5).verify(_signed(HEADER, _claims(iat=NOW + 6)))

    def test_moments_may_have_fractions(self) -> None:
        assert _tokens().verify(_signed(HEADER, _claims(iat=NOW - 0.5, exp=NOW + 0.5)))


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "expected"),
        [("a b", {"a", "b"}), (" a  b ", {"a", "b"}), ("", set[str]()), (["a", "b"], {"a", "b"}), ([], set[str]())],
    )
    def test_they_are_a_text_or_a_list(self, scope: Any, expected: set[str]) -> None:
        assert _tokens().verify(_signed(HEADER, _claims(scope=scope))).scopes == expected

    def test_an_audience_may_be_one_of_several(self) -> None:
        assert _tokens().verify(_signed(HEADER, _claims(aud=["bank", "shop"])))


class TestKeys:
    def test_the_first_key_signs_and_all_verify(self) -> None:
        before, after = _tokens({"1": KEY}), _tokens({"2": OTHER_KEY, "1": KEY})
        old, new = before.issue("ann"), after.issue("ann")

        assert jwt.get_unverified_header(new)["kid"] == "2"
        assert after.verify(old)
        assert after.verify(new)
        with pytest.raises(UnauthenticatedError):
            before.verify(new)

    def test_a_key_verifies_nothing_under_the_name_of_another(self) -> None:
        tokens = _tokens({"2": OTHER_KEY, "1": KEY})

        with pytest.raises(UnauthenticatedError):
            tokens.verify(_signed(HEADER | {"kid": "2"}, _claims(), KEY))

    def test_a_token_without_kid_is_refused_where_the_keys_have_them(self) -> None:
        with pytest.raises(UnauthenticatedError):
            _tokens({"1": KEY}).verify(_signed(HEADER, _claims()))

    def test_the_key_of_tokens_without_kid_is_kept_under_none(self) -> None:
        tokens = _tokens(TokenKeys({"1": OTHER_KEY, None: KEY}))

        assert tokens.verify(_tokens(KEY).issue("ann"))
        assert tokens.verify(tokens.issue("ann"))

    def test_a_key_may_hide_itself(self) -> None:
        assert _tokens(SecretStr(KEY)).verify(_tokens(KEY).issue("ann"))
        assert _tokens({"1": SecretStr(KEY)}).verify(_tokens({"1": KEY.encode()}).issue("ann"))

    @pytest.mark.parametrize(("algorithm", "length"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
    def test_a_key_is_as_long_as_the_digest(self, algorithm: str, length: int) -> None:
        with pytest.raises(ValueError, match=rf"'1' is too short for {algorithm}; it needs at least {length} random"):
            TokenKeys({"1": "x" * (length - 1)}, algorithm=algorithm)

        assert _tokens(TokenKeys("x" * length, algorithm=algorithm)).issue("ann")

    @pytest.mark.parametrize("algorithm", ["none", "HS1", "hs256", ""])
    def test_an_algorithm_that_is_not_known_is_refused(self, algorithm: str) -> None:
        with pytest.raises(ValueError, match="signs no tokens here; write one of HS256"):
            TokenKeys(KEY, algorithm=algorithm)

    def test_no_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="there is no key"):
            TokenKeys({})

    def test_no_key_is_in_a_repr_or_a_message(self) -> None:
        tokens = _tokens({"1": KEY, "2": OTHER_KEY})
        with pytest.raises(ValueError, match="too short") as caught:
            TokenKeys("secret")

        assert repr(tokens) == "<AccessTokens of 'https://shop.example' for 'shop', <TokenKeys HS256, kid '1', '2'>>"
        assert not [text for text in (repr(tokens), repr(vars(tokens.keys))) if "key of" in text or "not ours" in text]
        assert "secret" not in str(caught.value).replace("secrets", "").replace("import secret", "")


RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
ASYMMETRIC = {
    "RS256": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize(("algorithm", "key"), ASYMMETRIC.items(), ids=ASYMMETRIC.keys())
class TestAsymmetricKeys:
    def test_the_private_key_signs_and_the_public_one_verifies(self, algorithm: str, key: Any) -> None:
        issuer = _tokens(TokenKeys({"1": _pem(key)}, algorithm=algorithm))
        verifier = _tokens(TokenKeys({"1": _public_pem(key)}, algorithm=algorithm))
        token = issuer.issue("ann")

        assert verifier.verify(token) == issuer.verify(token)
        with pytest.raises(ValueError, match="the key '1' is public and can only verify"):
            verifier.issue("ann")

    def test_the_public_key_is_no_secret_that_signs(self, algorithm: str, key: Any) -> None:
        public = _public_pem(key)
        verifier = _tokens(TokenKeys(public, algorithm=algorithm))

        for header in ({"alg": "HS256"}, {"alg": algorithm}, {"alg": "none"}):
            with pytest.raises(UnauthenticatedError):
                verifier.verify(_signed(header, _claims(), public))

    def test_no_key_pair_makes_a_secret(self, algorithm: str, key: Any) -> None:
        for pem in (_pem(key), _public_pem(key)):
            with pytest.raises(ValueError, match="the key without kid is none of HS256"):
                TokenKeys(pem)

    def test_a_text_is_no_key_pair(self, algorithm: str, key: Any) -> None:
        with pytest.raises(ValueError, match=f"is none of {algorithm}; it needs a key in PEM") as caught:
            TokenKeys(KEY, algorithm=algorithm)

        assert KEY not in str(caught.value)


def test_a_short_rsa_key_is_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505  # what is tested

    with pytest.raises(ValueError, match="has 1024 bits; RS256 needs 2048"):
        TokenKeys(_pem(short), algorithm="RS256")
