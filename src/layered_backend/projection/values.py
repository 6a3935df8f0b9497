"""Values of a request: expressions for fields of a schema that no column has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Exists,
    Function,
    Label,
    Over,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    literal,
    select,
)
from sqlalchemy.orm import RelationshipProperty

__all__ = ["GivenValue", "expressions_of"]

_Constant: TypeAlias = bool | int | float | str | bytes | Decimal | date | time | timedelta | UUID | None

GivenValue: TypeAlias = SQLColumnExpression[Any] | Select[Any] | _Constant
"""One value for each row: an expression over the mapped class, a subquery that is correlated to it, or a constant."""

_SUBQUERIES = (Exists, ScalarSelect)
_AGGREGATES = {"count", "sum", "avg", "min", "max", "array_agg", "string_agg", "json_agg", "jsonb_agg", "group_concat"}


def expressions_of(model: type[Any], values: Mapping[str, GivenValue]) -> Sequence[ColumnElement[Any]]:
    """Return the expressions that select *values* in a statement over *model*.

    Raises:
        TypeError: One of them is no value of a row, or reads a table that is not joined.
    """
    return [_expression(model, name, value) for name, value in values.items()]


def _expression(model: type[Any], name: str, value: Any) -> ColumnElement[Any]:
    if isinstance(value, get_args(_Constant)):
        return literal(value)
    if isinstance(value, Select):
        if len(value.selected_columns) != 1:
            raise TypeError(f"the value of {name} selects {len(value.selected_columns)} columns; select one")
        return cast("ColumnElement[Any]", value.scalar_subquery())
    expression = value.__clause_element__() if hasattr(value, "__clause_element__") else value
    if not isinstance(expression, ClauseElement) or isinstance(getattr(value, "property", None), RelationshipProperty):
        raise TypeError(
            f"the value of {name} is {type(value).__name__}, and no expression; write one such as "
            "exists(...), select(func.count(...)).where(...) or sqlalchemy.literal(...)"
        )
    inner: Any = cast("Any", expression).element if isinstance(expression, Label) else expression
    if isinstance(inner, _SUBQUERIES):
        return cast("ColumnElement[Any]", expression)
    if _aggregates(expression):
        raise TypeError(
            f"the value of {name} makes one row of all; count in a subquery: select(func.count()).where(...), "
            f"which is correlated to {model.__name__}"
        )
    build: Any = select
    if len(build(expression).select_from(model).get_final_froms()) > 1:
        raise TypeError(
            f"the value of {name} reads a table that is not joined, which would multiply the rows; select it in a "
            f"subquery: select(...).where(...), which is correlated to {model.__name__}"
        )
    return cast("ColumnElement[Any]", expression)


def _aggregates(element: Any) -> bool:
    """Tell whether *element* has an aggregate function in it, outside of subqueries and windows."""
    if isinstance(element, (Over, *_SUBQUERIES)):
        return False
    is_aggregate = isinstance(element, Function) and element.name.lower() in _AGGREGATES
    return is_aggregate or any(_aggregates(child) for child in element.get_children())
