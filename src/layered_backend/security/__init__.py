"""Passwords, access tokens, and the principal that a token names. It knows no web framework."""

from layered_backend.security.keys import Secret, SecretHolder, TokenKeys
from layered_backend.security.passwords import PasswordCheck, PasswordHasher
from layered_backend.security.principal import Principal
from layered_backend.security.tokens import AccessTokens

__all__ = ["AccessTokens", "PasswordCheck", "PasswordHasher", "Principal", "Secret", "SecretHolder", "TokenKeys"]
