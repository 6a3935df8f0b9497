"""How the models are compared with the tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Set
from functools import cache, cached_property
from typing import Any

from alembic import context
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority
from sqlalchemy import ForeignKeyConstraint, MetaData, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint

from layered_backend.database import Database
from layered_backend.migrations.checks import compare_checks
from layered_backend.migrations.defaults import MIGRATIONS, compare_computed, compare_default, leave_computed
from layered_backend.migrations.rendering import leave_out_needless, rendered

__all__ = ["comparison_options"]

IncludeObject = Callable[[Any, str | None, str, bool, Any], bool]
_Facts = tuple[tuple[str, ...], tuple[str | None, str], tuple[str, ...], tuple[str | None, ...]]
IncludeName = Callable[[str | None, str, MutableMapping[str, Any]], bool]


def comparison_options(database: Database, metadata: MetaData, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of Alembic's `configure` for *database*: ours, and over them the caller's *options*."""
    migrations = database.dialect.migrations
    ours: dict[str, Any] = {
        "compare_server_default": True,
        "autogenerate_plugins": ["alembic.autogenerate.*", _plugin()],
        "render_item": rendered,
        "render_as_batch": migrations.alters_by_copy,
        "process_revision_directives": leave_out_needless,
        MIGRATIONS: migrations,
    }
    if migrations.transactional_ddl is not None:
        ours["transactional_ddl"] = migrations.transactional_ddl
    schemas = {table.schema for table in metadata.tables.values()} - {None}
    if "include_schemas" not in options and schemas:
        ours["include_schemas"] = True
        only_schemas: Set[str | None] | None = schemas | {None}
    else:
        only_schemas = None
    filters = _Filters(database, metadata, only_schemas, options)
    return {**ours, **options, "include_name": filters.include_name, "include_object": filters.include_object}


class _Filters:
    """The choice of tables and constraints that are compared. Lives as long as a run.

    Args:
        database: What is migrated.
        metadata: The models.
        schemas: Those that the models name, with None for the default one; None where the caller chooses.
        options: Those of the caller, with filters of its own.
    """

    def __init__(
        self, database: Database, metadata: MetaData, schemas: Set[str | None] | None, options: Mapping[str, Any]
    ) -> None:
        self._migrations = database.dialect.migrations
        self._metadata = metadata
        self._schemas = schemas
        self._their_name: IncludeName | None = options.get("include_name")
        self._their_object: IncludeObject | None = options.get("include_object")

    def include_name(self, name: str | None, kind: str, parents: MutableMapping[str, Any]) -> bool:
        """Tell whether *name*, which the database has, is compared."""
        if kind == "schema" and self._schemas is not None and name not in self._schemas:
            return False
        if kind == "table" and self._is_part(parents["schema_name"], str(name)):
            return False
        return self._their_name is None or self._their_name(name, kind, parents)

    def include_object(self, item: Any, name: str | None, kind: str, is_stored: bool, other: Any) -> bool:
        """Tell whether *item*, of the models or of the database, is compared."""
        if isinstance(item, ForeignKeyConstraint):
            referred = item.referred_table
            if is_stored and self._is_part(referred.schema, referred.name):
                return False  # PostgreSQL has one for each partition of a table that is referred to
            if self._is_on_both_sides(item, is_stored=is_stored):
                return False
        return self._their_object is None or self._their_object(item, name, kind, is_stored, other)

    def _is_part(self, schema: str | None, name: str) -> bool:
        """Tell whether a table without a model is a partition, or inherits: its parent is what has a model, or had."""
        place = (schema or self._default_schema, name)
        return place not in self._declared and place in self._descendants

    def _is_on_both_sides(self, key: ForeignKeyConstraint, *, is_stored: bool) -> bool:
        """Tell whether the other side has *key* too; Alembic takes the default schema for another one where it is named."""
        place = (key.table.schema or self._default_schema, key.table.name)
        if is_stored:
            others = self._declared[place].foreign_key_constraints if place in self._declared else ()
            return self._facts(key) in map(self._facts, others)
        schema = None if place[0] == self._default_schema else place[0]
        stored = inspect(context.get_bind()).get_foreign_keys(key.table.name, schema=schema)
        return self._facts(key) in map(self._stored_facts, stored)

    def _facts(self, key: ForeignKeyConstraint) -> _Facts:
        referred = key.referred_table
        options = (key.ondelete, key.onupdate, key.deferrable, key.initially)
        return (
            tuple(column.name for column in key.columns),
            (referred.schema or self._default_schema, referred.name),
            tuple(element.column.name for element in key.elements),
            tuple(map(_option, options)),
        )

    def _stored_facts(self, key: ReflectedForeignKeyConstraint) -> _Facts:
        options = key.get("options", {})
        return (
            tuple(key["constrained_columns"]),
            (key["referred_schema"] or self._default_schema, key["referred_table"]),
            tuple(key["referred_columns"]),
            tuple(_option(options.get(name)) for name in ("ondelete", "onupdate", "deferrable", "initially")),
        )

    @cached_property
    def _default_schema(self) -> str | None:
        return context.get_bind().dialect.default_schema_name

    @cached_property
    def _declared(self) -> Mapping[tuple[str | None, str], Table]:
        return {(table.schema or self._default_schema, table.name): table for table in self._metadata.tables.values()}

    @cached_property
    def _descendants(self) -> Collection[tuple[str | None, str]]:
        return self._migrations.descendants(context.get_bind())


def _option(value: object) -> str | None:
    """Return an option of a foreign key as one word; what databases do without it is None."""
    word = str(value).lower()
    return None if word in {"none", "false", "no action", "immediate"} else word


@cache
def _plugin() -> str:
    """Register the comparisons that are made here in place of Alembic's, and return their name."""
    plugin = Plugin("layered_backend.migrations")
    plugin.add_autogenerate_comparator(leave_computed, "column", "server_default", priority=DispatchPriority.FIRST)
    plugin.add_autogenerate_comparator(
        compare_default, "column", "server_default"
    )  # after what else Alembic notes of it
    plugin.add_autogenerate_comparator(compare_computed, "table", "computed")
    plugin.add_autogenerate_comparator(compare_checks, "table", "checks")
    return plugin.name
