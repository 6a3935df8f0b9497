"""The error for an attribute that is read before it is loaded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

from sqlalchemy.orm import Mapper, ORMExecuteState, RelationshipProperty

from layered_backend.errors import UnitOfWorkError
from layered_backend.upstream.sqlalchemy.session import columns_wanted_by

__all__ = ["EXPIRE_CALLED", "raise_lazy_load_error"]

EXPIRE_CALLED = "session.expire() was called"
_FEW = 3  # attributes that are named


def raise_lazy_load_error(load: ORMExecuteState, expired_when: Collection[str]) -> NoReturn:
    """Raise the error that names the attribute which *load* is for, and says how to have it loaded.

    Args:
        load: The query that SQLAlchemy would send for the attribute.
        expired_when: What has expired entities so far, such as "a savepoint was rolled back".

    Raises:
        UnitOfWorkError: Always.
    """
    steps: tuple[Any, ...] = getattr(load.loader_strategy_path, "path", ())
    attribute = steps[-1] if steps else None
    if isinstance(attribute, RelationshipProperty):
        name = f"{attribute.parent.class_.__name__}.{attribute.key}"
        sentence = f"{name} is not loaded: add options=[selectinload({name})] to the query"
    else:
        sentence = _sentence_of_columns(load, expired_when)
    raise UnitOfWorkError(f"{sentence}; nothing awaits the database where an attribute is read")


def _sentence_of_columns(load: ORMExecuteState, expired_when: Collection[str]) -> str:
    """Tell which columns are not loaded and why, as far as that is known.

    If one expired attribute is read, SQLAlchemy loads all of them, and does not tell which one was read.
    """
    state, names = columns_wanted_by(load)
    entity = load.bind_mapper.class_.__name__ if isinstance(load.bind_mapper, Mapper) else "an entity"
    if 0 < len(names) <= _FEW:
        problem = " or ".join(f"{entity}.{name}" for name in sorted(names)) + " is not loaded"
    else:
        problem = f"{entity} has an attribute that is not loaded"
    again = "read the entity again with a query, such as get(), before you use it"
    if state is None:
        return f"{problem}; {again}"
    causes = " or ".join(expired_when)
    if state.expired:  # the whole entity
        return f"{problem}, because {entity} expired{causes and f' when {causes}'}; {again}"
    if state.expired_attributes.issuperset(names):
        is_told = EXPIRE_CALLED in expired_when
        cause = f"{EXPIRE_CALLED} or the database computes it" if is_told else "the database computes it"
        return f"{problem}, because {cause}; {again}"
    missing = ", ".join(f"undefer({entity}.{name})" for name in sorted(names))
    return f"{problem}, because the query has left it out: add options=[{missing}] to the query"
