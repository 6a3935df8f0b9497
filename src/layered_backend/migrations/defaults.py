"""How the default of a column and the expression of a computed one are compared with what the database stores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    AddConstraintOp,
    AlterColumnOp,
    CreateIndexOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    ModifyTableOps,
)
from alembic.util import PriorityDispatchResult
from sqlalchemy import Boolean, Column, Computed, Dialect, Identity, Numeric, UniqueConstraint
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.expression import TextClause
from sqlalchemy.types import Float, Integer, TypeEngine

from layered_backend.dialects import Migrations
from layered_backend.migrations.rendering import FORMATS

__all__ = ["MIGRATIONS", "compare_computed", "compare_default", "leave_computed", "same_text"]

MIGRATIONS = "layered_migrations"
"""The option of Alembic's `configure` that holds the `Migrations` of the database's dialect."""

_TOKENS = re.compile(
    r"""
    (?P<text>'(?:[^']|'')*')
    | (?P<cast>::\s*(?:"[^"]+"|[\w.]+)(?:\s+(?:varying|precision|with(?:out)?\s+time\s+zone))*(?:\([\d,\s]*\))?(?:\[\])*)
    | (?P<space>\s+)
    | (?P<word>\w+)
    | (?P<rest>.)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_SAME_WORDS: Mapping[str, str] = {
    "false": "0",
    "true": "1",
    "now": "current_timestamp",
    "curdate": "current_date",
    "curtime": "current_time",
}


def compare_default(context: AutogenContext, alteration: AlterColumnOp, *columns: Any) -> PriorityDispatchResult:
    """Compare the defaults of a column, and leave to Alembic what is no default or cannot be compared here."""
    *_, stored, declared = columns
    theirs = context.opts["compare_server_default"]
    defaults = (stored.server_default, declared.server_default)
    if theirs is False or not all(each is None or isinstance(each, DefaultClause) for each in defaults):
        return PriorityDispatchResult.CONTINUE
    migrations: Migrations = context.opts[MIGRATIONS]
    dialect = context.dialect
    no_statement: Any = None
    now = _not_null(_text_of(stored.server_default.arg) if isinstance(stored.server_default, DefaultClause) else None)
    wanted = _not_null(dialect.ddl_compiler(dialect, no_statement).get_column_default_string(declared), dialect)
    if now is None and wanted is not None:
        now = migrations.stored_default(
            context.connection, alteration.schema, alteration.table_name, alteration.column_name
        )
    is_counted = declared.table.autoincrement_column is declared  # by a sequence that the server has made
    if same_text(now, wanted, declared.type) or (wanted is None and is_counted):
        return PriorityDispatchResult.STOP
    if now is None or wanted is None:
        is_same: bool | None = False
    else:
        kind = declared.type.compile(dialect=dialect)
        is_same = migrations.same_expressions(context.connection, (now, wanted), kind, None)
    if is_same is None:
        return PriorityDispatchResult.CONTINUE
    if not is_same:
        alteration.modify_server_default = declared.server_default
    return PriorityDispatchResult.STOP


def _text_of(expression: object) -> str:
    """Return *expression*, which was read from the database, as it was read."""
    return expression.text if isinstance(expression, TextClause) else str(expression)


def _not_null(ddl: str | None, dialect: Dialect | None = None) -> str | None:
    """Return *ddl*, in which *dialect* has doubled each %; None for the default that a column without one has."""
    if ddl is None or ddl.strip("() ").upper() == "NULL":
        return None
    return ddl.replace("%%", "%") if dialect is not None and dialect.paramstyle in FORMATS else ddl


def leave_computed(context: AutogenContext, _alteration: AlterColumnOp, *columns: Any) -> PriorityDispatchResult:
    """Keep a computed column from Alembic, which only warns of it, and an identity from a database that has none."""
    *_, stored, declared = columns
    defaults = (stored.server_default, declared.server_default)
    if any(isinstance(each, Computed) for each in defaults):
        return PriorityDispatchResult.STOP
    if any(isinstance(each, Identity) for each in defaults) and not context.dialect.supports_identity_columns:
        return PriorityDispatchResult.STOP
    return PriorityDispatchResult.CONTINUE


def compare_computed(context: AutogenContext, changes: ModifyTableOps, *tables: Any) -> PriorityDispatchResult:
    """Have a column that is computed otherwise dropped and added again, as it cannot be altered everywhere."""
    *_, stored, declared = tables
    if stored is None or declared is None or context.opts["compare_server_default"] is False:
        return PriorityDispatchResult.CONTINUE
    for column in declared.columns:
        before = stored.columns.get(column.name)
        if before is None or _is_computed_alike(context, before, column):
            continue
        if context.run_object_filters(column, column.name, "column", False, before):
            changes.ops.extend(_computed_anew(changes.schema, changes.table_name, before, column))
    return PriorityDispatchResult.CONTINUE


def _is_computed_alike(context: AutogenContext, stored: Column[Any], declared: Column[Any]) -> bool:
    """Tell whether both columns are computed in the same way, or not at all."""
    if not (isinstance(stored.computed, Computed) and isinstance(declared.computed, Computed)):
        return stored.computed is declared.computed
    if declared.computed.persisted is not None and bool(stored.computed.persisted) != declared.computed.persisted:
        return False
    dialect = context.dialect
    compiled = declared.computed.sqltext.compile(
        dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}
    )
    now, wanted = _not_null(_text_of(stored.computed.sqltext)), _not_null(str(compiled), dialect)
    if now is None or wanted is None:
        return now is wanted
    if same_text(now, wanted):
        return True
    migrations: Migrations = context.opts[MIGRATIONS]
    table = dialect.identifier_preparer.format_table(stored.table)
    kind = declared.type.compile(dialect=dialect)
    is_same = migrations.same_expressions(context.connection, (now, wanted), kind, table)
    return _crude(now) == _crude(wanted) if is_same is None else is_same


def _computed_anew(
    schema: str | None, table: str, stored: Column[Any], declared: Column[Any]
) -> Iterator[MigrateOperation]:
    """Yield what drops *stored* and adds *declared*, with the indexes and the unique constraints that hold the column."""
    # A unique constraint may have been read as an index too, and Alembic may have added what it has read a second time.
    unique = {each.name: each for each in stored.table.constraints if isinstance(each, UniqueConstraint)}
    of_models = {each.name for each in declared.table.constraints if isinstance(each, UniqueConstraint)}
    indexes = {each.name: each for each in stored.table.indexes if each.name not in unique.keys() | of_models}
    for index in indexes.values():
        if stored.name in index.columns:
            yield DropIndexOp.from_index(index)
    for constraint in unique.values():
        if stored.name in constraint.columns:
            yield DropConstraintOp.from_constraint(constraint)
    yield DropColumnOp.from_column_and_tablename(schema, table, stored)
    yield AddColumnOp.from_column_and_tablename(schema, table, declared)
    for added in declared.table.constraints:
        if isinstance(added, UniqueConstraint) and declared.key in added.columns:
            yield AddConstraintOp.from_constraint(added)
    for index in declared.table.indexes:
        if declared.key in index.columns:
            yield CreateIndexOp.from_index(index)


def same_text(stored: str | None, declared: str | None, column_type: TypeEngine[Any] | None = None) -> bool:
    """Tell whether two SQL expressions say the same, but for case, space, casts and names of functions."""
    if stored is None or declared is None:
        return stored is declared
    first, second = _normal(stored), _normal(declared)
    is_number = isinstance(column_type, (Integer, Numeric, Float, Boolean))
    return first == second or (is_number and _number(first) == _number(second) is not None)


def _normal(expression: str) -> tuple[str, ...]:
    """Return *expression* in words, without what databases write differently."""
    words = [
        token if kind == "text" else _SAME_WORDS.get(token.lower(), token.lower())
        for kind, token in ((match.lastgroup, match.group()) for match in _TOKENS.finditer(expression))
        if kind not in {"cast", "space"} and token not in {'"', "`"}
    ]
    without_calls = _without_empty_parentheses(words)
    while _is_enclosed(without_calls):
        without_calls = without_calls[1:-1]
    return tuple(without_calls)


def _without_empty_parentheses(words: list[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if word == ")" and kept[-1:] == ["("]:
            kept.pop()
        elif word == ")" and kept[-2:-1] == ["("] and kept[-1].isdigit() and kept[-3:-2] == ["current_timestamp"]:
            del kept[-2:]  # the digits of the seconds
        else:
            kept.append(word)
    return kept


def _is_enclosed(words: list[str]) -> bool:
    """Tell whether the first of *words* is a parenthesis that the last one closes."""
    depth = 0
    for position, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return word == ")" and position == len(words) - 1
    return False


def _number(words: tuple[str, ...]) -> Decimal | None:
    """Return the number that *words* are, quoted or not."""
    try:
        return Decimal("".join(words).strip("'"))
    except ArithmeticError:
        return None


def _crude(expression: str) -> str:
    """Return the words of *expression* without parentheses, which MariaDB stores only where they are needed."""
    return "".join(word for word in _normal(expression) if word not in {"(", ")"})
