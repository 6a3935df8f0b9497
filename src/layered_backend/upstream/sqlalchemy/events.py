"""The listeners of events: whether there are any."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Mapper, QueryableAttribute, Session
from sqlalchemy.orm.instrumentation import ClassManager

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["Target", "is_change_heard", "is_heard", "knows_listeners"]

Target: TypeAlias = Engine | Connection | Session | Mapper[Any] | ClassManager[Any]
"""An object that has listeners; a class manager has those of its entities."""

_LISTENERS = tuple(
    Undocumented(owner, "dispatch") for owner in (Engine, Connection, Session, Mapper, ClassManager, QueryableAttribute)
)


@cache
def knows_listeners() -> bool:
    """Tell whether listeners can be looked for; where they cannot, a WARNING says so once."""
    return SQLALCHEMY.offers("Leaving out steps that nobody listens to", *_LISTENERS)


def is_heard(target: Target, *events: str, besides: int = 0) -> bool:
    """Tell whether somebody listens to one of the *events* of *target*.

    Uses the attribute `dispatch` of the target, which holds the listeners by event. The public `event.contains` answers for
    a listener that the caller has, not for any. If it goes, every event counts as heard: the ORM writes all rows, and each
    transaction has a COMMIT.

    Args:
        target: The object.
        events: The names of the events.
        besides: How many listeners of each do not count.
    """
    if not knows_listeners():
        return True
    for event in events:
        listeners: Any = getattr(target.dispatch, event)
        if len(listeners) > besides:
            return True
    return False


def is_change_heard(mapper: Mapper[Any], names: Iterable[str]) -> bool:
    """Tell whether somebody listens to a change of one of those attributes: a validator, a backref or an event.

    Uses the attribute `dispatch` of instrumented attributes, for the reason that `is_heard` gives, and finds them in the
    class manager by name, which has no synonyms and hybrids. If they go, every change counts as heard.
    """
    manager: Any = mapper.class_manager
    return not knows_listeners() or any(manager[name].dispatch.set for name in names if name in manager)
