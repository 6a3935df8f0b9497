"""Many keys in one parameter for each column: a statement that is the same for any number of them, and can be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, literal
from sqlalchemy.types import TypeEngine

__all__ = ["GivenKeys"]

Keys = Sequence[Sequence[Any]]


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


def _name(number: int) -> str:
    return f"layered_backend_keys_{number}"
