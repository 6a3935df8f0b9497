"""How the models are compared with the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import CheckConstraint

from layered_backend.database import Database
from layered_backend.migrations.rendering import leave_out_needless, rendered

__all__ = ["comparison_options"]

_PUNCTUATION = re.compile(r"\([0-6]?\)|[()\s]")
_SAME_DEFAULTS: Mapping[str, str] = {"false": "0", "true": "1", "now": "now", "current_timestamp": "now"}

Include = Callable[[Any, str | None, str, bool, Any], bool]


def comparison_options(database: Database, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of Alembic's `configure` for *database*: ours, and over them the caller's *options*."""
    migrations = database.dialect.migrations
    ours: dict[str, Any] = {
        "compare_server_default": _differ,
        "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
        "render_item": rendered,
        "render_as_batch": migrations.alters_by_copy,
        "process_revision_directives": leave_out_needless,
    }
    if migrations.transactional_ddl is not None:
        ours["transactional_ddl"] = migrations.transactional_ddl
    return {**ours, **options, "include_object": _including(options.get("include_object"))}


def _differ(
    _context: object, _stored: object, _declared: object, stored: str | None, _default: object, declared: str | None
) -> bool | None:
    """Return False for defaults that are the same in other words; None leaves it to Alembic."""
    return False if _normal(stored) == _normal(declared) else None


def _normal(default: str | None) -> str | None:
    if default is None:
        return None
    bare = _PUNCTUATION.sub("", default.lower())
    return _SAME_DEFAULTS.get(bare, default)


def _including(include: Include | None) -> Include:
    """Return *include*, the caller's filter, which does not hear of what MariaDB adds to a column of JSON."""

    def including(item: object, name: str | None, kind: str, is_stored: bool, other: object) -> bool:
        if isinstance(item, CheckConstraint) and is_stored and str(item.sqltext).startswith("json_valid("):
            return False
        return include is None or include(item, name, kind, is_stored, other)

    return including
