"""The error for an attribute that is read before it is loaded."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy.orm import Mapper, ORMExecuteState, RelationshipProperty

from layered_backend.errors import UnitOfWorkError

__all__ = ["raise_lazy_load_error"]


def raise_lazy_load_error(load: ORMExecuteState, expired_when: str | None) -> NoReturn:
    """Raise the error that names the attribute which *load* is for, and says how to have it loaded.

    Args:
        load: The query that SQLAlchemy would send for the attribute.
        expired_when: What has expired entities last, such as "a savepoint was rolled back"; None where nothing has.

    Raises:
        UnitOfWorkError: Always.
    """
    steps: tuple[Any, ...] = getattr(load.loader_strategy_path, "path", ())
    attribute = steps[-1] if steps else None
    if isinstance(attribute, RelationshipProperty):
        name = f"{attribute.parent.class_.__name__}.{attribute.key}"
        sentence = f"{name} is not loaded: add options=[selectinload({name})] to the query"
    elif isinstance(load.bind_mapper, Mapper) and expired_when is not None:
        sentence = (
            f"{load.bind_mapper.class_.__name__} has an attribute that is not loaded, or that expired when "
            f"{expired_when}; read the entity again with a query, such as get(), before you use it"
        )
    else:
        name = load.bind_mapper.class_.__name__ if isinstance(load.bind_mapper, Mapper) else "an entity"
        sentence = f"{name} has an attribute that is not loaded: read it with a query first"
    raise UnitOfWorkError(f"{sentence}; nothing awaits the database where an attribute is read")
