"""Mapped classes: who listens to their entities, how these are constructed, and how one becomes persistent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper, QueryableAttribute, Session, registry
from sqlalchemy.orm.instrumentation import ClassManager

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.verification import Undocumented

__all__ = ["can_register_written", "has_plain_constructor", "is_change_heard", "is_heard", "register_written"]

_OWN_INIT_LISTENERS = 1  # SQLAlchemy's, by which it configures the mappers
_LISTENERS = (
    Undocumented(Mapper, "dispatch"),
    Undocumented(Session, "dispatch"),
    Undocumented(ClassManager, "dispatch"),
    Undocumented(QueryableAttribute, "dispatch"),
    Undocumented(ClassManager, "original_init"),
    Undocumented(registry(), "constructor"),
)
_REGISTERING = Undocumented(Session, "_register_persistent", ("states",))


def is_heard(target: Mapper[Any] | ClassManager[Any] | Session, *events: str) -> bool:
    """Tell whether somebody listens to one of the *events* of a mapper, a class manager (its entities) or a session.

    Uses the attribute `dispatch` of all three, which holds the listeners by event. The public `event.contains` answers for
    a listener that the caller has, not for any. If it goes, every event counts as heard: the ORM writes all rows, and its
    events happen.
    """
    return not knows_listeners() or any(getattr(target.dispatch, event) for event in events)


def is_change_heard(mapper: Mapper[Any], names: Iterable[str]) -> bool:
    """Tell whether somebody listens to a change of one of those attributes: a validator, a backref or an event.

    Uses the attribute `dispatch` of instrumented attributes, for the reason that `is_heard` gives, and finds them in the
    class manager by name, which has no synonyms and hybrids. If they go, every change counts as heard.
    """
    manager: Any = mapper.class_manager
    return not knows_listeners() or any(manager[name].dispatch.set for name in names if name in manager)


def has_plain_constructor(mapper: Mapper[Any]) -> bool:
    """Tell whether entities are constructed by SQLAlchemy's own constructor, and nobody listens to it.

    Uses `ClassManager.original_init` and `registry.constructor`: the `__init__` of a mapped class is SQLAlchemy's wrapper,
    and nothing public tells which one it wraps. If they go, no constructor counts as plain, so entities are constructed.
    """
    if not knows_listeners():
        return False
    manager: Any = mapper.class_manager
    is_plain = manager.original_init in {mapper.registry.constructor, object.__init__}
    return is_plain and len(manager.dispatch.init) <= _OWN_INIT_LISTENERS


def register_written(session: Session, entity: object) -> None:
    """Have *session* hold a pending entity, whose row an INSERT has written, as a flush would leave it.

    Uses `Session._register_persistent`, with which a flush ends. The public way to the same state,
    `make_transient_to_detached` and `Session.add`, does not tell the session that the entity is new: after a rollback it
    would still be held as stored. If it goes, `can_register_written` is false and a flush writes the entity.
    """
    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    session._register_persistent({state})  # pyright: ignore[reportPrivateUsage]


@cache
def can_register_written() -> bool:
    """Tell whether `register_written` works with the installed release."""
    return SQLALCHEMY.offers("Writing a new entity without a flush", _REGISTERING)


@cache
def knows_listeners() -> bool:
    return SQLALCHEMY.offers("Writing rows without entities", *_LISTENERS)
