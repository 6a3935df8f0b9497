"""Which keys are refused."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

import pytest

from layered_backend.settings.weak_keys import weakness_of


@pytest.mark.parametrize(
    ("key", "weakness"),
    [
        ("x" * 31, "is shorter than 32 bytes"),
        ("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "is out of a tutorial"),
        ("192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", "is out of a tutorial"),
        ("a-string-secret-at-least-256-bits-long", "is out of a tutorial"),
        ("django-insecure-8f7x!m0q2w9e4r6t1y3u5i7o", "is out of a tutorial"),
        ("change_me-Zx81kQ0vTn5LbR7wYp3HsJd6", "looks like a placeholder"),
        ("ThisIsMyVerySecretKeyForTheShop-2026", "looks like a placeholder"),
        ("P-A-S-S-W-O-R-D-Zx81kQ0vTn5LbR7wYp3H", "looks like a placeholder"),
        ("0" * 64, "follows a pattern"),
        ("deadbeef" * 8, "follows a pattern"),
        ("Zx81kQ0vTn5LbR7wYp3HsZx81kQ0vTn5LbR7wYp", "follows a pattern"),
        ("akkakaakkaakakkakaakakkaakkakaak", "follows a pattern"),
        ("0123456789abcdefghijklmnopqrstuv", "follows a pattern"),
        ("zyxwvutsrqponmlkjihgfedcba9876543210", "follows a pattern"),
        ("abababcdcdcdababefefefababcdcdcdcdab", "follows a pattern"),
    ],
)
def test_what_can_be_guessed_is_refused(key: str, weakness: str) -> None:
    assert weakness_of(key, at_least=32).startswith(weakness)


def test_bytes_are_counted_not_characters() -> None:
    key = "Zx81kQ0vTn5LbR7wYp3H漢字かな"  # 24 characters, 32 bytes

    assert weakness_of(key, at_least=32) == ""
    assert weakness_of(key, at_least=33) == "is shorter than 33 bytes"


def _in_base64(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()


@pytest.mark.parametrize("form", [secrets.token_urlsafe, secrets.token_hex, _in_base64])
def test_what_is_random_is_accepted(form: Callable[[int], str]) -> None:
    assert {weakness_of(form(32), at_least=32) for _ in range(2_000)} == {""}
