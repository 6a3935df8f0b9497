"""Writes that return a schema: the statement that writes the row also reads it, without an entity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel
from sqlalchemy import Column, Connection, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapper, Session

from layered_backend.dialects import dialect_named
from layered_backend.errors import NotFoundError
from layered_backend.field_values import Data, options_of
from layered_backend.identity import identity_of
from layered_backend.memoization import memoized
from layered_backend.models import SoftDeletable
from layered_backend.projection import Projection, Selection, SessionSource, write_in
from layered_backend.query.scope import ActiveScopes, active_scopes
from layered_backend.repository.row_writes import (
    build_change,
    build_deletion,
    change_parameters,
    new_parameters,
    plan_change,
    plan_deletion,
)
from layered_backend.repository.scoped_values import changed_in_scope, new_in_scope
from layered_backend.repository.write_gate import Verb, WritePlan, plan_write
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.sqlalchemy.result import read_by_position

__all__ = ["Returning", "Writer"]

SchemaT = TypeVar("SchemaT", bound=BaseModel)


class Writer(Protocol):
    """The methods of a repository for rows that one statement cannot write."""

    async def create(
        self, data: Data, *, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> Any: ...

    async def update(
        self,
        key_or_entity: Any,
        data: Data,
        *,
        exclude: Collection[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> Any: ...

    async def delete(self, key_or_entity: Any) -> Any: ...


class Returning(Generic[SchemaT]):
    """Writes single rows, and returns each as *schema*. Lives as long as its unit of work.

        item = await uow.items.returning(ItemRead).create(data)

    One statement writes the row and reads it back. If that would skip something (an event, a validator, a version, a
    cascade, a method that the repository overrides, an entity that is loaded already), the entity is written normally and
    then read into the schema.

    Args:
        session: The session to write in.
        writer: The repository.
        own: The names of the methods that the repository overrides.
        selection: The selection of the schema.
    """

    def __init__(
        self, session: AsyncSession, writer: Writer, own: frozenset[str], selection: Selection[SchemaT]
    ) -> None:
        self._session = session
        self._writer = writer
        self._own = own
        self._selection = selection.unjoined  # what writes a row cannot join others to it

    async def create(
        self, data: Data, *, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> SchemaT:
        """Write a new row of *data*, as `BaseRepository.create` does, and return it."""
        if not self._own & {"add", "create"}:
            new = new_in_scope(self._scopes, self._mapper, data, exclude, values)
            created = await self._written(_insert, new)
            if created is not None:
                return created
        entity = await self._writer.create(data, **options_of(exclude, values))
        return await self._projection.get(tuple(self._mapper.primary_key_from_instance(entity)))

    async def update(
        self, key: Any, data: Data, *, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> SchemaT:
        """Change the fields that *data* sets, as `BaseRepository.update` does, and return the row."""
        identity = self._identity(key)
        if "update" not in self._own:
            changes = changed_in_scope(self._scopes, self._mapper, data, exclude, values)
            changed = await self._written(_update, identity, changes)
            if changed is not None:
                return changed
        await self._writer.update(identity, data, **options_of(exclude, values))
        return await self._projection.get(identity)

    async def delete(self, key: Any) -> SchemaT:
        """Delete the row, as `BaseRepository.delete` does, and return it as it was."""
        identity = self._identity(key)
        if "delete" not in self._own and not (
            self._selection.is_nested or issubclass(self._mapper.class_, SoftDeletable)
        ):
            deleted = await self._written(_delete, identity)
            if deleted is not None:
                return deleted
        found = await self._projection.get(identity)
        await self._writer.delete(identity)
        return found

    @property
    def _mapper(self) -> Mapper[Any]:
        return self._selection.mapper

    @property
    def _scopes(self) -> ActiveScopes:
        return active_scopes(self._session.info)

    @property
    def _projection(self) -> Projection[SchemaT]:
        return Projection(SessionSource(self._session), self._mapper.class_, self._selection.schema)

    def _identity(self, key: object) -> tuple[Any, ...]:
        identity = identity_of(self._mapper, key, self._session.get_bind().dialect)
        if identity is None:
            raise NotFoundError(self._mapper.class_.__name__, key)
        return identity

    async def _written(self, prepare: Callable[..., _Write | None], *arguments: object) -> SchemaT | None:
        record = await self._session.run_sync(_write, self._selection, prepare, arguments)
        return None if record is None else self._selection.validated([record])[0]


@dataclass(frozen=True)
class _Write:
    """A statement that writes one row and returns it, and its parameters."""

    statement: Any
    parameters: Mapping[str, Any]
    is_insert: bool = False


def _write(
    session: Session, selection: Selection[Any], prepare: Callable[..., _Write | None], arguments: Sequence[Any]
) -> Any:
    """Return the written row; None if the entity has to be written instead, or if there is no such row."""
    # A listener to the ORM's statements may add criteria to them.
    are_plain_values = _returned(selection) and not is_heard(session, "do_orm_execute")
    write = prepare(session, selection, *arguments) if are_plain_values else None
    if write is None:
        return None
    scopes = active_scopes(session.info)
    criteria = () if write.is_insert else scopes.criteria(selection.mapper.class_)
    statement = write.statement.where(*criteria) if criteria else write.statement

    def execute(connection: Connection) -> Any:
        rows = connection.execute(statement, write.parameters).all()
        records = selection.records(rows, connection, dialect_named(connection.dialect.name).keys, scopes.options())
        return records[0] if records else None

    return write_in(session, execute)


def _insert(session: Session, selection: Selection[Any], values: Mapping[str, Any]) -> _Write | None:
    if not session.get_bind().dialect.insert_returning:
        return None
    plan = plan_write(session, selection.mapper, Verb.INSERT, values)
    if plan is None:
        return None
    return _Write(_inserting(plan, selection), new_parameters(plan, values) | plan.new_version(), is_insert=True)


def _update(
    session: Session, selection: Selection[Any], identity: tuple[Any, ...], values: Mapping[str, Any]
) -> _Write | None:
    plan = plan_change(session, selection.mapper, identity, values)
    if plan is None:
        return None
    return _Write(_updating(plan, selection, frozenset(values)), change_parameters(plan, identity, values))


def _delete(session: Session, selection: Selection[Any], identity: tuple[Any, ...]) -> _Write | None:
    plan = plan_deletion(session, selection.mapper, identity)
    return None if plan is None else _Write(_deleting(plan, selection), change_parameters(plan, identity))


@memoized
def _inserting(plan: WritePlan, selection: Selection[Any]) -> Any:
    return read_by_position(insert(plan.table).returning(*_returned(selection)))


@memoized
def _updating(plan: WritePlan, selection: Selection[Any], names: frozenset[str]) -> Any:
    return read_by_position(build_change(plan, plan.table, names).returning(*_returned(selection)))


@memoized
def _deleting(plan: WritePlan, selection: Selection[Any]) -> Any:
    return read_by_position(build_deletion(plan, plan.table).returning(*_returned(selection)))


@memoized
def _returned(selection: Selection[Any]) -> Sequence[Column[Any]]:
    """Return the table's columns that the selection reads; none if it reads something else as well."""
    columns = [_table_column(selection.mapper, attribute) for attribute in selection.selected]
    return [column for column in columns if column is not None] if all(c is not None for c in columns) else ()


def _table_column(mapper: Mapper[Any], attribute: object) -> Column[Any] | None:
    if not isinstance(attribute, InstrumentedAttribute) or attribute.key not in mapper.column_attrs:
        return None
    column: object = mapper.column_attrs[attribute.key].columns[0]
    if not isinstance(column, Column) or column.table is not mapper.local_table:
        return None
    return column if attribute.parent is mapper else None
