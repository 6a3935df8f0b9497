"""Many keys in one parameter for each column: a statement that is the same for any number of them, and can be kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, any_, bindparam, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Enum, Integer, String, TypeEngine, Uuid

__all__ = ["GivenKeys", "given_as_arrays", "given_as_json"]

Keys = Sequence[Sequence[Any]]

_ARRAY_TYPES = (Integer, String, Uuid)
_NUL_IN_JSON = "\\u0000"


@dataclass(frozen=True)
class GivenKeys:
    """How to ask for the rows that have one of many keys. Lives as long as the mapped class.

    Attributes:
        types: Of the parameters.
        among: From the parameters to the criterion.
        values: From keys, none of them NULL, to the parameters' values; None where these keys cannot be given so.
    """

    types: Sequence[TypeEngine[Any]]
    among: Callable[[Sequence[BindParameter[Any]]], ColumnElement[bool]]
    values: Callable[[Keys], Sequence[Any] | None]

    def criterion(self) -> ColumnElement[bool]:
        """Return the criterion for a statement that is kept, and executed with `parameters`."""
        return self.among([bindparam(_name(number), type_=each) for number, each in enumerate(self.types)])

    def parameters(self, keys: Keys) -> Mapping[str, Any] | None:
        """Return what to execute such a statement with; None where *keys* cannot be given so."""
        values = self.values(keys)
        return None if values is None else {_name(number): value for number, value in enumerate(values)}

    def criterion_of(self, keys: Keys) -> ColumnElement[bool] | None:
        """Return the criterion with *keys* in it, for a statement that is executed once; None where it cannot have them."""
        values = self.values(keys)
        if values is None:
            return None
        return self.among([literal(value, each) for value, each in zip(values, self.types, strict=True)])


def given_as_arrays(key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
    """Return how PostgreSQL is asked, with an array for each column; None where a type does not allow it."""
    if not all(isinstance(column.type, _ARRAY_TYPES) and not isinstance(column.type, Enum) for column in key):
        return None

    def among(arrays: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        if len(key) == 1:
            return key[0] == any_(arrays[0])
        return tuple_(*key).in_(select(*(func.unnest(array) for array in arrays)))

    return GivenKeys([ARRAY(column.type) for column in key], among, _columns)


def given_as_json(key: Sequence[ColumnElement[Any]]) -> GivenKeys | None:
    """Return how SQLite is asked, with an array of JSON; None where a type does not allow it."""
    if len(key) > 1 or not isinstance(key[0].type, Integer | String) or isinstance(key[0].type, Enum):
        return None

    def among(parameters: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        return key[0].in_(select(func.json_each(*parameters).table_valued("value").c.value))

    return GivenKeys([String()], among, _json)


def _name(number: int) -> str:
    return f"layered_backend_keys_{number}"


def _columns(keys: Keys) -> Sequence[Any]:
    return [list(values) for values in zip(*keys, strict=True)]


def _json(keys: Keys) -> Sequence[Any] | None:
    values = [value for (value,) in keys]
    if not {*map(type, values)} <= {int, str}:
        return None
    array = json.dumps(values)
    return None if _NUL_IN_JSON in array else [array]  # SQLite would end the text there
