"""Passwords, kept as hashes that are expensive to guess."""

from __future__ import annotations

import asyncio
import logging
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from typing import TypeVar

from layered_backend.errors import InvalidDataError
from layered_backend.security.missing import missing_package

try:
    import_module("argon2")  # which pwdlib needs, and whose absence it tells in other words
    from pwdlib import PasswordHash
    from pwdlib.exceptions import UnknownHashError
    from pwdlib.hashers.argon2 import Argon2Hasher
except ModuleNotFoundError as _error:
    raise missing_package(_error) from _error

__all__ = ["PasswordCheck", "PasswordHasher"]

T = TypeVar("T")

_logger = logging.getLogger("layered_backend")

_LONGEST = 1_024  # bytes; a longer password is no safer, and its length would be work for whoever sends it
_MOST_AT_ONCE = 4  # hashes, each of which takes the memory that its parameters name: 64 MiB by default
_SOME_PASSWORD = b"a password to be as slow with"


@dataclass(frozen=True)
class PasswordCheck:
    """Whether a password fits. It is true where the password does, so that `if await hasher.verify(...)` is right.

    Attributes:
        is_correct: Whether it fits.
        new_hash: What to store in place of the hash that was verified, which was made with other parameters than new
            ones are; None where it can stay.
    """

    is_correct: bool
    new_hash: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.is_correct


class PasswordHasher:
    """Hashes and verifies passwords, in threads of its own. Lives as long as the process.

        check = await hasher.verify(password, user.password_hash if user else None)
        if not check:
            raise UnauthenticatedError("the name or the password is wrong")
        if check.new_hash is not None:
            await uow.users.update(user, {"password_hash": check.new_hash})

    Passwords are normalised (NFKC, as NIST SP 800-63B has it), so that one that is typed on another keyboard fits too.

    Args:
        password_hash: What hashes, and what verifies older hashes; Argon2id with the parameters of RFC 9106 unless it is
            given.
        at_once: How many are hashed at the same time; the others wait. As many as there are processors, four at most,
            unless it is given: each takes 64 MiB.

    Raises:
        ValueError: *at_once* is less than one.
    """

    def __init__(self, password_hash: PasswordHash | None = None, *, at_once: int | None = None) -> None:
        self._hash = password_hash or PasswordHash((Argon2Hasher(),))
        workers = min(_MOST_AT_ONCE, os.cpu_count() or 1) if at_once is None else at_once
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="layered_backend.passwords")

    async def hash(self, password: str) -> str:
        """Return the hash of *password*, to be stored.

        Raises:
            InvalidDataError: It is empty, longer than 1024 bytes, or no text that can be written.
        """
        given = _normalised(password)
        if given is None:
            raise InvalidDataError(f"a password has at least one character, and at most {_LONGEST} bytes")
        return await self._in_thread(lambda: self._hash.hash(given))

    async def verify(self, password: str, stored: str | None) -> PasswordCheck:
        """Tell whether *password* is the one whose hash is *stored*.

        It takes as long where nobody has such a name, so that the time tells nobody who has an account.

        Args:
            password: What was entered.
            stored: The hash, or None where there is none: then no password fits.
        """
        return await self._in_thread(lambda: self._checked(_normalised(password), stored))

    def _checked(self, password: bytes | None, stored: str | None) -> PasswordCheck:
        if password is None or not stored:
            return self._refused_as_slowly()
        try:
            is_correct, new_hash = self._hash.verify_and_update(password, stored)
        except UnknownHashError:
            _logger.warning("a stored password hash is of no known kind; no password fits it")
            return self._refused_as_slowly()
        return PasswordCheck(is_correct, new_hash)

    def _refused_as_slowly(self) -> PasswordCheck:
        """Refuse after the work of a verification, which is that of a hash."""
        self._hash.hash(_SOME_PASSWORD)
        return PasswordCheck(is_correct=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _normalised(password: str) -> bytes | None:
    """Return the bytes to be hashed; None where they are too many, or none."""
    if not 0 < len(password) <= _LONGEST:
        return None
    try:
        written = unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return None
    return written if len(written) <= _LONGEST else None
