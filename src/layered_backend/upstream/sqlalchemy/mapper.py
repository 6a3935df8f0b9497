"""Mapped classes: how their entities are constructed, and how one becomes persistent."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper, Session, registry
from sqlalchemy.orm.instrumentation import ClassManager

from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.verification import Undocumented

__all__ = ["can_register_written", "counts_versions", "has_plain_constructor", "register_written"]

_OWN_INIT_LISTENERS = 1  # SQLAlchemy's, by which it configures the mappers
_CONSTRUCTORS = (Undocumented(ClassManager, "original_init"), Undocumented(registry(), "constructor"))
_REGISTERING = Undocumented(Session, "_register_persistent", ("states",))


def has_plain_constructor(mapper: Mapper[Any]) -> bool:
    """Tell whether entities are constructed by SQLAlchemy's own constructor, and nobody listens to it.

    Uses `ClassManager.original_init` and `registry.constructor`: the `__init__` of a mapped class is SQLAlchemy's wrapper,
    and nothing public tells which one it wraps. If they go, no constructor counts as plain, so entities are constructed.
    """
    if not _knows_constructors():
        return False
    manager: Any = mapper.class_manager
    is_plain = manager.original_init in {mapper.registry.constructor, object.__init__}
    return is_plain and not is_heard(manager, "init", besides=_OWN_INIT_LISTENERS)


@cache
def _knows_constructors() -> bool:
    return SQLALCHEMY.offers("Writing rows without entities", *_CONSTRUCTORS)


def counts_versions(mapper: Mapper[Any]) -> bool:
    """Tell whether *mapper* counts its versions up from 1, and has no function of the application's that makes them.

    Uses the module of the function that a mapper without `version_id_generator` gets. Nothing public tells it from a function
    of the application. If it changes, no mapper counts, so rows with a version are written through the ORM.
    """
    return getattr(mapper.version_id_generator, "__module__", None) == Mapper.__module__


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
