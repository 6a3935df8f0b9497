"""How a difference is written down as a revision: with its imports, and alike on each database."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    DropIndexOp,
    DropTableOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    OpContainer,
)
from sqlalchemy import CheckConstraint, Computed, func
from sqlalchemy.schema import DefaultClause, conv
from sqlalchemy.sql.expression import ClauseElement, False_, TextClause, True_

from layered_backend import models

__all__ = ["FORMATS", "leave_out_needless", "rendered"]

_NOW = type(func.now())
FORMATS = frozenset({"format", "pyformat"})
"""The styles of parameters with which SQLAlchemy doubles each % of a statement."""

_BOUND = re.compile(r"(?<![:\w\\]):(?=\w)")
"""The colons that `text` takes for the beginning of a parameter."""


def rendered(kind: str, item: object, context: AutogenContext) -> str | bool:
    """Return the code of *item* where Alembic's own would not do, and see to its import; False for all else."""
    if kind == "type":
        return _type(item, context)
    if kind == "server_default" and isinstance(item, DefaultClause):
        return _default(item, context)
    if kind == "server_default" and isinstance(item, Computed):
        stored = "" if item.persisted is None else f", persisted={item.persisted}"
        return f"sa.Computed({_sql(item.sqltext, context)}{stored})"
    if kind == "check" and isinstance(item, CheckConstraint) and isinstance(item.sqltext, TextClause):
        return f"sa.CheckConstraint({_sql(item.sqltext, context)}{_name(item)})"
    return False


def _sql(expression: ClauseElement, context: AutogenContext, *, is_default: bool = False) -> str:
    """Return the code of a string that SQLAlchemy reads as *expression*: Alembic's own doubles % and binds what follows a colon."""
    sql = context.migration_context.impl.render_ddl_sql_expr(expression, is_server_default=is_default)
    if context.dialect.paramstyle in FORMATS:
        sql = sql.replace("%%", "%")
    return repr(_BOUND.sub(r"\\:", sql))


def _name(check: CheckConstraint) -> str:
    if not isinstance(check.name, str):
        return ""
    return f", name=op.f({str(check.name)!r})" if isinstance(check.name, conv) else f", name={str(check.name)!r}"


def _type(item: object, context: AutogenContext) -> str | bool:
    """Return the code of a type that is not SQLAlchemy's; Alembic imports none of these."""
    kind: type[Any] = type(item)
    dialect = re.match(r"sqlalchemy\.dialects\.(\w+)", kind.__module__)
    if dialect is not None:
        return _type_of(dialect.group(1), item, context)
    if kind.__module__.startswith("sqlalchemy."):
        return False
    context.imports.add(f"from {kind.__module__} import {kind.__name__}")
    return f"{kind.__name__}()" if kind.__module__ == models.__name__ else repr(item)


def _type_of(dialect: str, item: object, context: AutogenContext) -> str | bool:
    """Return the code of a type of another database than this one, of which Alembic does not qualify the arguments."""
    package = f"sqlalchemy.dialects.{dialect}."  # of the types and of the dialect: one may serve several databases
    if any(base.__module__.startswith(package) for base in type(context.dialect).__mro__):
        return False
    context.imports.add(f"from sqlalchemy.dialects import {dialect}")
    code = _Qualified(dialect).visit(ast.parse(repr(item), mode="eval"))
    return ast.unparse(code)


class _Qualified(ast.NodeTransformer):
    """Says of each name in the code of a type where it is from."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def visit_Name(self, node: ast.Name) -> ast.expr:  # the name that `ast` calls
        """Return the attribute of a module."""
        is_of_dialect = hasattr(import_module(f"sqlalchemy.dialects.{self._dialect}"), node.id)
        module = self._dialect if is_of_dialect and node.id.isupper() else "sa"
        return ast.Attribute(ast.Name(module), node.id)


def _default(item: DefaultClause, context: AutogenContext) -> str | bool:
    """Return the code of a default that Alembic would change, or that is written differently on each database."""
    if isinstance(item.arg, str):
        return repr(item.arg)
    for kind, code in ((False_, "sa.false()"), (True_, "sa.true()"), (_NOW, "sa.func.now()")):
        if isinstance(item.arg, kind):
            return code
    return f"sa.text({_sql(item.arg, context, is_default=True)})"


def leave_out_needless(_context: object, _heads: object, scripts: Iterable[MigrationScript]) -> None:
    """Have a table dropped without its indexes before it, which MariaDB refuses where a foreign key uses one."""
    for script in scripts:
        for operations in (*script.upgrade_ops_list, *script.downgrade_ops_list):
            _leave_out(operations, {each.table_name for each in operations.ops if isinstance(each, DropTableOp)})


def _leave_out(container: OpContainer, dropped: set[str]) -> None:
    for each in container.ops:
        if isinstance(each, ModifyTableOps):
            _leave_out(each, dropped)
    container.ops = [each for each in container.ops if not _is_needless(each, dropped)]


def _is_needless(operation: MigrateOperation, dropped: set[str]) -> bool:
    if isinstance(operation, ModifyTableOps):
        return operation.is_empty()
    return isinstance(operation, DropIndexOp) and operation.table_name in dropped
