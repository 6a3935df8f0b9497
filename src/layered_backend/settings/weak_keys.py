"""Keys that can be guessed: those out of tutorials, placeholders, patterns."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["HOW_TO_MAKE", "weakness_of"]

HOW_TO_MAKE = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'

_FEWEST_CHARACTERS = 8  # that are different; 32 random hexadecimal digits have fewer once in 26 million keys
# Beginnings of keys that documentation prints for all to copy, without the marks that are left out below.
_PUBLISHED = (
    "09d25e094faa6ca2556c8181",  # FastAPI, OAuth2 with JWT
    "192b9bdd22ab9ed4d12e236c",  # Flask, quickstart
    "astringsecretatleast",  # jwt.io
    "djangoinsecure",  # django-admin startproject
)
_PLACEHOLDERS = (  # of six letters and more: a random key has one less than once in a million
    "changeit",
    "changeme",
    "changethis",
    "default",
    "developmentkey",
    "example",
    "insecure",
    "password",
    "placeholder",
    "qwerty",
    "replace",
    "secret",
)


def weakness_of(key: str, *, at_least: int) -> str:
    """Return what makes *key* too weak, as the end of a sentence that does not repeat it; empty where nothing does.

    Args:
        key: What is to sign.
        at_least: How many bytes it needs.
    """
    if len(key.encode()) < at_least:
        return f"is shorter than {at_least} bytes"
    letters = "".join(filter(str.isalnum, key.lower()))
    if letters.startswith(_PUBLISHED):
        return "is out of a tutorial, and so known to everybody"
    if any(word in letters for word in _PLACEHOLDERS):
        return "looks like a placeholder"
    if len(set(key)) < _FEWEST_CHARACTERS or _repeats(key) or _counts(key):
        return "follows a pattern"
    return ""


def _repeats(key: str) -> bool:
    """Tell whether *key* is one part again and again, once and a half at least."""
    return any(key[length:] == key[:-length] for length in range(1, len(key) * 2 // 3 + 1))


def _counts(key: str) -> bool:
    """Tell whether most characters are the next one, or the one before, of the alphabet or of the digits."""
    steps = [ord(after) - ord(before) for before, after in pairwise(key)]
    return sum(abs(step) == 1 for step in steps) > len(steps) / 2
