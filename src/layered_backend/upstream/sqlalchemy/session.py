"""The flush of a session, where something else stands in for it, and the loads that it sends for attributes."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy.orm import InstanceState, ORMExecuteState, Session, SessionTransaction

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["can_stand_in_for_flush", "columns_wanted_by", "roll_back_as_flush"]


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


def columns_wanted_by(load: ORMExecuteState) -> tuple[InstanceState[Any] | None, Collection[str]]:
    """Return the state of the entity that *load* is for, and the names of its attributes that would be loaded.

    It reads `ORMExecuteState.load_options._refresh_state` and `Select._compile_options._only_load_props`. The public
    `lazy_loaded_from` is for relationships alone. Without it the error for a column that is not loaded could name neither
    the attribute nor the reason. Nothing else depends on it, so the answer is (None, ()) where a release lacks them.
    """
    state: InstanceState[Any] | None = getattr(load.load_options, "_refresh_state", None)
    names: Collection[str] | None = getattr(getattr(load.statement, "_compile_options", None), "_only_load_props", None)
    return state, names or ()
