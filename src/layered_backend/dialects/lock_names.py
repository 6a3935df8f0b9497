"""Names of locks, in the forms that databases take."""

from __future__ import annotations

import hashlib

__all__ = ["lock_label", "lock_number"]


def lock_number(name: str) -> int:
    """Return *name* as the signed 64-bit integer that PostgreSQL's advisory locks take."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def lock_label(*parts: str) -> str:
    """Return *parts* as a name of 54 characters; MariaDB's GET_LOCK takes up to 64 and shares them server-wide."""
    return "layered-backend " + hashlib.blake2b("\x00".join(parts).encode(), digest_size=19).hexdigest()
