"""How SQLite is asked for rows: by many keys, in an order, and by values as it stores them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Column, ColumnElement, Dialect, func, select
from sqlalchemy.types import Integer, String, TypeEngine

from layered_backend.columns import kind_of
from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.portable import PortableValues
from layered_backend.dialects.sort_forms import AsDriven, SortForm, as_stored, bare
from layered_backend.dialects.standard import StandardKeys, StandardOrdering

__all__ = ["SQLiteKeys", "SQLiteOrdering", "SQLiteValues"]

_DRIVEN = AsDriven()
_NUL_IN_JSON = "\\u0000"


class SQLiteKeys(StandardKeys):
    """Gives many keys as one array of JSON."""

    parameter_limit = 32_766

    def given(self, key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
        return _given_as_json(key)


def _given_as_json(key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
    """Return how SQLite is asked, with an array of JSON; None where a type does not allow it."""
    if len(key) > 1 or kind_of(key[0].type).key not in {int, str}:
        return None

    def among(parameters: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        return key[0].in_(select(func.json_each(*parameters).table_valued("value").c.value))

    return GivenKeys([String()], among, _json)


def _json(keys: Sequence[Sequence[Any]]) -> Sequence[Any] | None:
    values = [value for (value,) in keys]
    if not {*map(type, values)} <= {int, str}:
        return None
    array = json.dumps(values)
    return None if _NUL_IN_JSON in array else [array]  # SQLite would end the text there


class SQLiteOrdering(StandardOrdering):
    """Sorts the five storage classes, and does not seek past rows that are equal to a place."""

    seeks_past_ties = False

    def sort_form(self, expression: ColumnElement[Any], dialect: Dialect) -> SortForm:
        """Return the form of the five storage classes, which the driver reads and writes as they are.

        SQLAlchemy reads a double as a Decimal of ten digits, and any text that a column may have as what it should be.
        """
        is_read_whole = kind_of(expression.type).key in {int, str}
        form = as_stored(expression, expression.type if is_read_whole else _DRIVEN)
        return replace(form, is_combinable=False) if _is_row_id(bare(expression)) else form


def _is_row_id(expression: ColumnElement[Any]) -> bool:
    """Tell whether SQLite takes the column for the row's number, which it does not seek by in a comparison of rows."""
    if not (isinstance(expression, Column) and isinstance(expression.type, Integer) and expression.primary_key):
        return False
    return len(expression.table.primary_key.columns) == 1


class SQLiteValues(PortableValues):
    """Keeps floating-point numbers in 8 bytes, whatever the column is declared as."""

    def is_single_precision(self, column_type: TypeEngine[Any]) -> bool:
        return False
