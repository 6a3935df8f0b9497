from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from layered_backend import InvalidDataError
from layered_backend.security import PasswordHasher


class _CountingHasher(Argon2Hasher):
    """Counts what costs time, and how much of it goes on at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.work = 0
        self.at_once = self.most_at_once = 0
        self.threads = set[str]()
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._counted():
            return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002  # as the base class has it
        with self._counted():
            return super().verify(password, hash)

    @contextmanager
    def _counted(self) -> Generator[None]:
        with self._lock:
            self.work += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.threads.add(threading.current_thread().name)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1


@pytest.fixture
def counting() -> _CountingHasher:
    return _CountingHasher()


@pytest.fixture
def hasher(counting: _CountingHasher) -> PasswordHasher:
    return PasswordHasher(PasswordHash((counting,)), at_once=2)


async def test_the_password_fits_its_hash_and_no_other_does(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("correct horse")

    right, wrong = await hasher.verify("correct horse", stored), await hasher.verify("battery staple", stored)

    assert (right.is_correct, right.new_hash) == (True, None)
    assert (wrong.is_correct, wrong.new_hash) == (False, None)


async def test_a_check_is_as_true_as_the_password(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("correct horse")

    assert await hasher.verify("correct horse", stored)
    assert not await hasher.verify("battery staple", stored)
    assert not await hasher.verify("battery staple", None)


async def test_the_default_is_argon2id_with_64_mebibytes() -> None:
    stored = await PasswordHasher().hash("correct horse")

    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_two_hashes_of_one_password_differ(hasher: PasswordHasher) -> None:
    assert await hasher.hash("correct horse") != await hasher.hash("correct horse")


async def test_a_correct_password_has_a_new_hash_when_the_parameters_have_changed(hasher: PasswordHasher) -> None:
    older = PasswordHasher(PasswordHash((Argon2Hasher(time_cost=1, memory_cost=32, parallelism=1),)))
    stored = await older.hash("correct horse")

    check = await hasher.verify("correct horse", stored)

    assert check
    assert check.new_hash is not None
    assert "m=64,t=1,p=1" in check.new_hash
    assert (await hasher.verify("correct horse", check.new_hash)).new_hash is None
    assert (await hasher.verify("battery staple", stored)).new_hash is None


@pytest.mark.parametrize("stored", [None, ""])
async def test_an_unknown_user_costs_as_much_work_as_a_wrong_password(
    hasher: PasswordHasher, counting: _CountingHasher, stored: str | None
) -> None:
    known = await hasher.hash("correct horse")
    counting.work = 0
    await hasher.verify("battery staple", known)
    of_a_wrong_password, counting.work = counting.work, 0

    assert not await hasher.verify("battery staple", stored)

    assert counting.work == of_a_wrong_password == 1


@pytest.mark.parametrize("password", ["", "x" * 1_025, "ä" * 513, "\ufdfa" * 100, "half \ud800 of a pair"])
async def test_what_is_no_password_is_refused_and_fits_nothing(
    hasher: PasswordHasher, counting: _CountingHasher, password: str
) -> None:
    stored = await hasher.hash("correct horse")
    counting.work = 0

    with pytest.raises(InvalidDataError, match="at least one character, and at most 1024 bytes"):
        await hasher.hash(password)
    assert counting.work == 0
    assert not await hasher.verify(password, stored)
    assert counting.work == 1, "it was answered sooner than a wrong password"


async def test_the_longest_password_is_hashed_whole(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("x" * 1_024)

    assert await hasher.verify("x" * 1_024, stored)
    assert not await hasher.verify("x" * 1_023 + "y", stored)


async def test_a_password_fits_however_its_letters_are_composed(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("caf\u00e9 \u212b")

    assert await hasher.verify("cafe\u0301 A\u030a", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "plain text",
        "$2b$12$abc",
        "$argon2id$",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$",
        "$argon2id$v=19$m=64,t=1,p=1$!$!",
    ],
)
async def test_a_broken_hash_fits_nothing(hasher: PasswordHasher, stored: str) -> None:
    assert not await hasher.verify("correct horse", stored)


async def test_a_hash_of_no_known_kind_is_logged_without_it(
    hasher: PasswordHasher, counting: _CountingHasher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "layered_backend"):
        await hasher.verify("correct horse", "plain text")

    assert [record.getMessage() for record in caplog.records] == [
        "a stored password hash is of no known kind; no password fits it"
    ]
    assert counting.work == 1


async def test_no_more_are_hashed_at_once_than_allowed_and_none_in_the_threads_of_others(
    hasher: PasswordHasher, counting: _CountingHasher
) -> None:
    stored = await hasher.hash("correct horse")

    checks = await asyncio.gather(*(hasher.verify("correct horse", stored) for _ in range(50)))

    assert all(checks)
    assert counting.most_at_once <= 2
    assert all(name.startswith("layered_backend.passwords") for name in counting.threads)


async def test_the_event_loop_goes_on_meanwhile(counting: _CountingHasher) -> None:
    release = threading.Event()

    class Slow(_CountingHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            assert release.wait(timeout=10)
            return super().hash(password, salt=salt)

    hashing = asyncio.ensure_future(PasswordHasher(PasswordHash((Slow(),))).hash("correct horse"))
    await asyncio.sleep(0)
    release.set()

    assert (await hashing).startswith("$argon2id$")


def test_at_least_one_is_hashed_at_once() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        PasswordHasher(at_once=0)


async def test_no_hash_is_in_a_repr(hasher: PasswordHasher) -> None:
    older = PasswordHasher(PasswordHash((Argon2Hasher(time_cost=1, memory_cost=32, parallelism=1),)))
    check = await hasher.verify("correct horse", await older.hash("correct horse"))

    assert repr(check) == "PasswordCheck(is_correct=True)"
    assert "horse" not in repr(hasher)
