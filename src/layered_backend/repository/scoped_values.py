"""The values that scopes allow in writes: rows of a tenant get the tenant, and keep it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Mapper

from layered_backend.batch import MISSING, Batch
from layered_backend.errors import PermissionDeniedError
from layered_backend.field_values import Data, changed_values, new_batch, new_values
from layered_backend.query.scope import ActiveScopes

__all__ = ["changed_batch_in_scope", "changed_in_scope", "new_batch_in_scope", "new_in_scope", "own", "refuse_foreign"]


def new_in_scope(
    scopes: ActiveScopes,
    mapper: Mapper[Any],
    data: Data,
    exclude: Collection[str] = (),
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the values of a new entity, as `new_values` does, with the values that the scopes fix.

    Raises:
        PermissionDeniedError: *data*, or what stands beside it, has another value for one of them.
    """
    values = new_values(mapper, data, exclude, beside)
    fixed = scopes.fixed_values(mapper.class_)
    if not fixed:
        return values
    if any(values.get(name) not in (None, value) for name, value in fixed.items()):
        raise _out_of_scope(mapper)
    return values | fixed


def new_batch_in_scope(scopes: ActiveScopes, mapper: Mapper[Any], rows: Sequence[Data]) -> Batch:
    """Return the values of many new entities, as `new_in_scope` does.

    Raises:
        PermissionDeniedError: A row has another value for one of them.
    """
    batch = new_batch(mapper, rows)
    fixed = scopes.fixed_values(mapper.class_)
    if not fixed:
        return batch
    given = ((batch.fields[name], value) for name, value in fixed.items() if name in batch.fields)
    if any(each is not None and each is not MISSING and each != value for values, value in given for each in values):
        raise _out_of_scope(mapper)
    return Batch({**batch.fields, **{name: [value] * batch.size for name, value in fixed.items()}}, batch.size)


def changed_in_scope(
    scopes: ActiveScopes,
    mapper: Mapper[Any],
    data: Data,
    exclude: Collection[str] = (),
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the values to change, as `changed_values` does.

    Raises:
        PermissionDeniedError: One of them is fixed by a scope.
    """
    values = changed_values(mapper, data, exclude, beside)
    for name in scopes.fixed_values(mapper.class_):
        if values.keys() & {name, *_references_by(mapper, name)}:
            raise PermissionDeniedError(f"{mapper.class_.__name__}.{name} cannot be changed within its scope")
    return values


def changed_batch_in_scope(scopes: ActiveScopes, mapper: Mapper[Any], rows: Sequence[Data]) -> Batch:
    """Return the values to change of many rows, as `changed_in_scope` does.

    Raises:
        PermissionDeniedError: One of them is fixed by a scope.
    """
    return Batch.of([changed_in_scope(scopes, mapper, row) for row in rows])


def own(scopes: ActiveScopes, mapper: Mapper[Any], entity: object) -> None:
    """Set the values that the scopes fix on a new entity that has none for them."""
    for name, value in scopes.fixed_values(mapper.class_).items():
        if getattr(entity, name) is None:
            setattr(entity, name, value)


def refuse_foreign(scopes: ActiveScopes, mapper: Mapper[Any], entity: object) -> None:
    """Refuse an entity whose values differ from those that the scopes fix; a relationship may have set them.

    Raises:
        PermissionDeniedError: A value differs.
    """
    if any(getattr(entity, name) != value for name, value in scopes.fixed_values(mapper.class_).items()):
        raise _out_of_scope(mapper)


def _references_by(mapper: Mapper[Any], name: str) -> set[str]:
    """Return the relationships whose foreign key is that attribute."""
    columns = set(mapper.column_attrs[name].columns)
    return {reference.key for reference in mapper.relationships if reference.local_columns & columns}


def _out_of_scope(mapper: Mapper[Any]) -> PermissionDeniedError:
    return PermissionDeniedError(f"this {mapper.class_.__name__} is out of the scope of the unit of work")
