"""How the models are compared with the tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Set
from functools import cache, cached_property
from typing import Any

from alembic import context
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority
from sqlalchemy import MetaData

from layered_backend.database import Database
from layered_backend.migrations.checks import compare_checks
from layered_backend.migrations.defaults import MIGRATIONS, compare_computed, compare_default, leave_computed
from layered_backend.migrations.rendering import leave_out_needless, rendered

__all__ = ["comparison_options"]

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
    included = _Included(database, metadata, only_schemas, options.get("include_name"))
    return {**ours, **options, "include_name": included}


class _Included:
    """The filter of what is compared. Lives as long as a run.

    Args:
        database: What is migrated.
        metadata: The models.
        schemas: Those that the models name, with None for the default one; None where the caller chooses.
        include: The caller's own filter.
    """

    def __init__(
        self, database: Database, metadata: MetaData, schemas: Set[str | None] | None, include: IncludeName | None
    ) -> None:
        self._migrations = database.dialect.migrations
        self._declared = {(table.schema, table.name) for table in metadata.tables.values()}
        self._schemas = schemas
        self._include = include

    def __call__(self, name: str | None, kind: str, parents: MutableMapping[str, Any]) -> bool:
        """Tell whether *name*, which the database has, is compared."""
        if kind == "schema" and self._schemas is not None and name not in self._schemas:
            return False
        if kind == "table" and self._belongs_to_another(parents["schema_name"], str(name)):
            return False
        return self._include is None or self._include(name, kind, parents)

    def _belongs_to_another(self, schema: str | None, name: str) -> bool:
        """Tell whether a table without a model is a partition, or inherits: its parent is what has a model, or had."""
        default = context.get_bind().dialect.default_schema_name
        is_declared = not self._declared.isdisjoint({(schema, name), (schema or default, name)})
        return not is_declared and (schema or default, name) in self._descendants

    @cached_property
    def _descendants(self) -> Collection[tuple[str, str]]:
        return self._migrations.descendants(context.get_bind())


@cache
def _plugin() -> str:
    """Register the comparisons that are made here in place of Alembic's, and return their name."""
    plugin = Plugin("layered_backend.migrations")
    plugin.add_autogenerate_comparator(leave_computed, "column", "server_default", priority=DispatchPriority.FIRST)
    plugin.add_autogenerate_comparator(compare_default, "column", "server_default")  # after what else Alembic notes of it
    plugin.add_autogenerate_comparator(compare_computed, "table", "computed")
    plugin.add_autogenerate_comparator(compare_checks, "table", "checks")
    return plugin.name
