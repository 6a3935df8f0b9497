"""The error for an attribute that is read before it is loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from sqlalchemy import Column
from sqlalchemy.orm import ColumnProperty, Mapper, ORMExecuteState, RelationshipProperty

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
    state, wanted = columns_wanted_by(load)
    mapper = load.bind_mapper if state is None else state.mapper
    entity = mapper.class_.__name__ if isinstance(mapper, Mapper) else "an entity"
    # An eager relationship that has expired is read along with the columns.
    names = sorted(name for name in wanted if mapper is None or name in mapper.column_attrs)
    if 0 < len(names) <= _FEW:
        problem = " or ".join(f"{entity}.{name}" for name in names) + " is not loaded"
    else:
        problem = f"{entity} has an attribute that is not loaded"
    again = "read the entity again with a query, such as get(), before you use it"
    if state is None:
        return f"{problem}; {again}"
    causes = " or ".join(expired_when)
    if state.expired:  # the whole entity
        return f"{problem}, because {entity} expired{causes and f' when {causes}'}; {again}"
    attributes = [state.mapper.column_attrs[name] for name in names]
    # A refresh leaves deferred columns among the expired ones.
    if not state.expired_attributes.issuperset(names) or (attributes and all(each.deferred for each in attributes)):
        missing = ", ".join(f"undefer({entity}.{name})" for name in names)
        return f"{problem}, because the query has left it out: add options=[{missing}] to the query"
    cause = _cause(attributes, state.mapper)
    if EXPIRE_CALLED in expired_when:
        cause = f"{EXPIRE_CALLED} or {cause}"
    return f"{problem}, because {cause}; {again}"


def _cause(attributes: Sequence[ColumnProperty[Any]], mapper: Mapper[Any]) -> str:
    """Tell why *attributes* have expired by themselves."""
    base = mapper.base_mapper
    are_of_base = any(each.key in base.column_attrs for each in attributes)
    if not are_of_base and not all(_is_computed(each) for each in attributes):
        names = f"{base.class_.__name__}, [{mapper.class_.__name__}]"
        return (
            f"the query has read it as {base.class_.__name__}: add options=[selectin_polymorphic({names})] to the query"
        )
    return "the database computes it"


def _is_computed(attribute: ColumnProperty[Any]) -> bool:
    column = attribute.columns[0]
    return not isinstance(column, Column) or bool(
        column.server_default or column.server_onupdate or column.default or column.onupdate
    )
