"""How the check constraints of a model are compared with those of its table: by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddConstraintOp, DropConstraintOp, ModifyTableOps
from alembic.util import PriorityDispatchResult
from sqlalchemy import CheckConstraint, Dialect, Table
from sqlalchemy.schema import CreateTable

__all__ = ["compare_checks"]

_OF_JSON = "json_valid("  # MariaDB adds such a check to each column of JSON


def compare_checks(context: AutogenContext, changes: ModifyTableOps, *tables: Any) -> PriorityDispatchResult:
    """Have the checks added that the model has and the table has not, and the others dropped."""
    *_, stored, declared = tables
    if stored is None or declared is None:
        return PriorityDispatchResult.CONTINUE
    quote = context.dialect.identifier_preparer.quote
    there = {
        quote(check["name"])
        for check in context.inspector.get_check_constraints(changes.table_name, schema=changes.schema)
        if check["name"] is not None
        and not check["sqltext"].startswith(_OF_JSON)
        and context.run_name_filters(
            check["name"],
            "check_constraint",
            {"table_name": changes.table_name, "schema_name": changes.schema},
        )
    }
    wanted, has_unnamed = _created(declared, context.dialect)
    # A check without a name in the model has one from the server in the table, so the others may be of the model too.
    left: set[str] = set() if has_unnamed else there - wanted.keys()
    for check in sorted(_checks_of(stored), key=lambda check: str(check.name)):
        is_left = check.name is not None and quote(str(check.name)) in left
        if is_left and context.run_object_filters(check, str(check.name), "check_constraint", True, None):
            changes.ops.append(DropConstraintOp.from_constraint(check))
    for quoted in sorted(wanted.keys() - there):
        check = wanted[quoted]
        if context.run_object_filters(check, str(check.name), "check_constraint", False, None):
            changes.ops.append(AddConstraintOp.from_constraint(check))
    return PriorityDispatchResult.CONTINUE


def _checks_of(table: Table) -> list[CheckConstraint]:
    return [each for each in table.constraints if isinstance(each, CheckConstraint)]


def _created(table: Table, dialect: Dialect) -> tuple[Mapping[str, CheckConstraint], bool]:
    """Return the checks that CREATE TABLE makes on this database, by name, and whether one is named by the server.

    The check of a Boolean or an Enum is left out where the database has such a type.
    """
    ddl = str(CreateTable(table).compile(dialect=dialect))
    created: dict[str, CheckConstraint] = {}
    for check in _checks_of(table):
        if isinstance(check.name, str):
            quoted = dialect.identifier_preparer.format_constraint(check)
            if quoted and f"CONSTRAINT {quoted} CHECK" in ddl:
                created[quoted] = check
    return created, ddl.count("CHECK (") > len(created)
