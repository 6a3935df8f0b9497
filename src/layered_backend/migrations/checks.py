"""How the check constraints of a model are compared with those of its table: by name."""

from __future__ import annotations

from collections.abc import Mapping

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddConstraintOp, DropConstraintOp, ModifyTableOps
from alembic.util import PriorityDispatchResult
from sqlalchemy import CheckConstraint, Dialect, Table
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.schema import CreateTable

__all__ = ["compare_checks"]

_OF_JSON = "json_valid("  # MariaDB adds such a check to each column of JSON


def compare_checks(
    context: AutogenContext,
    changes: ModifyTableOps,
    schema: str | None,
    name: str,
    stored: Table | None,
    declared: Table | None,
) -> PriorityDispatchResult:
    """Have the checks added that the model has and the table has not, and the others dropped."""
    if stored is None or declared is None or context.dialect is None or context.inspector is None:
        return PriorityDispatchResult.CONTINUE
    quote = context.dialect.identifier_preparer.quote
    parents = {"table_name": name, "schema_name": schema, "schema_qualified_table_name": stored.fullname}
    there = {
        quote(check["name"])
        for check in context.inspector.get_check_constraints(name, schema=schema)
        if check["name"] is not None
        and not check["sqltext"].startswith(_OF_JSON)
        and context.run_name_filters(check["name"], "check_constraint", parents)
    }
    wanted, has_unnamed = _created(declared, context.dialect)
    for check in sorted(
        (each for each in stored.constraints if isinstance(each, CheckConstraint) and each.name), key=lambda c: str(c.name)
    ):
        is_wanted = has_unnamed or quote(str(check.name)) in wanted
        if quote(str(check.name)) in there and not is_wanted:
            if context.run_object_filters(check, str(check.name), "check_constraint", True, None):
                changes.ops.append(DropConstraintOp.from_constraint(check))
    for quoted in sorted(wanted.keys() - there):
        if context.run_object_filters(wanted[quoted], quoted, "check_constraint", False, None):
            changes.ops.append(AddConstraintOp.from_constraint(wanted[quoted]))
    return PriorityDispatchResult.CONTINUE


def _created(table: Table, dialect: Dialect) -> tuple[Mapping[str, CheckConstraint], bool]:
    """Return the checks that CREATE TABLE makes on this database, by name, and whether one is named by the server.

    The check of a Boolean or an Enum is left out where the database has such a type.
    """
    ddl = str(CreateTable(table).compile(dialect=dialect))
    created: dict[str, CheckConstraint] = {}
    for check in table.constraints:
        if isinstance(check, CheckConstraint):
            try:
                quoted = dialect.identifier_preparer.format_constraint(check)
            except InvalidRequestError:  # the naming convention requires a name, so that it cannot be created here
                continue
            if quoted and f"CONSTRAINT {quoted} CHECK" in ddl:
                created[quoted] = check
    return created, ddl.count("CHECK (") > len(created)
