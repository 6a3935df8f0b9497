"""What is said of an attribute that is read before it is loaded."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy.orm import Mapper, ORMExecuteState, RelationshipProperty

from layered_backend.errors import UnitOfWorkError

__all__ = ["refuse_unloaded"]


def refuse_unloaded(load: ORMExecuteState) -> NoReturn:
    """Raise the error that names the attribute which *load* is for, and says how to have it loaded.

    Raises:
        UnitOfWorkError: Always.
    """
    raise UnitOfWorkError(f"{_subject(load)}; nothing awaits the database where an attribute is read")


def _subject(load: ORMExecuteState) -> str:
    steps: tuple[Any, ...] = getattr(load.loader_strategy_path, "path", ())
    attribute = steps[-1] if steps else None
    if isinstance(attribute, RelationshipProperty):
        name = f"{attribute.parent.class_.__name__}.{attribute.key}"
        return f"{name} is not loaded: add options=[selectinload({name})] to the query"
    mapper = load.bind_mapper
    name = mapper.class_.__name__ if isinstance(mapper, Mapper) else "an entity"
    return f"{name} has an attribute that is not loaded, or was expired by a rollback: read it with a query first"
