"""The flush of a session, where something else stands in for it."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

from functools import cache

from sqlalchemy.orm import Session, SessionTransaction

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["can_stand_in_for_flush", "roll_back_as_flush"]


@cache
def can_stand_in_for_flush() -> bool:
    """Tell whether a write can stand in for a flush; where it cannot, a WARNING says so once."""
    return SQLALCHEMY.offers(
        "writing a new entity by its INSERT alone",
        Undocumented(Session, "_autobegin_t"),
        Undocumented(SessionTransaction, "_begin"),
        Undocumented(SessionTransaction, "rollback", ("_capture_exception",)),
    )


def roll_back_as_flush(session: Session) -> None:
    """Roll back the savepoint, or the transaction, that *session* is in, as a flush does whose statement has failed.

    It uses `Session._autobegin_t` and `SessionTransaction._begin`, and must be called while the error is handled. The
    public `rollback` would end the transaction, and its next statement would begin another one. Without it an INSERT
    that stands in for a flush could not fail as the flush does.
    """
    inner = session._autobegin_t()._begin()
    inner.rollback(_capture_exception=True)
