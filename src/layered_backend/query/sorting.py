"""Sorting by the parameter of a query string, from a list of what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnExpressionArgument

from layered_backend.query.parameters import QueryModel
from layered_backend.query.sort_terms import opposite

__all__ = ["Sorting"]


class Sorting(QueryModel):
    """The keys that a route can be sorted by: `sort=-price,name` is by price, the highest first, then by name.

        class ItemSorting(Sorting):
            keys = {"name": Item.name, "price": Item.price}
            default = "name"

    Raises:
        TypeError: *default* names a key that is not in *keys*.

    Attributes:
        keys: What each key stands for; a client can sort by nothing else.
        default: The sort where the client names none; the primary key unless it is given.
    """

    keys: ClassVar[Mapping[str, ColumnExpressionArgument[Any]]] = {}
    default: ClassVar[str] = ""

    sort: str | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        unknown = _unknown(cls.default, cls.keys)
        if unknown:
            raise TypeError(f"{cls.__name__}.default names {', '.join(unknown)}, which is not among its keys")
        field = cls.model_fields["sort"]
        field.description = f"Keys, separated by commas; a minus sign reverses one. Allowed: {', '.join(cls.keys)}."
        key = f"-?({'|'.join(cls.keys)})"
        field.json_schema_extra = {"pattern": f"^({key}(,{key})*)?$"}
        cls.model_rebuild(force=True)

    @field_validator("sort")
    @classmethod
    def _allowed(cls, value: str | None) -> str | None:
        unknown = _unknown(value or "", cls.keys)
        if unknown:
            facts = {"unknown": ", ".join(unknown), "allowed": ", ".join(sorted(cls.keys))}
            raise PydanticCustomError("unknown_sort_key", "Cannot sort by {unknown}; allowed are {allowed}", facts)
        return value

    def order_by(self) -> list[ColumnExpressionArgument[Any]]:
        """Return the expressions to sort by; none where neither the client nor the class names any.

        A key that is named again counts once: rows that are equal in it are equal in it again.
        """
        wanted: dict[str, bool] = {}
        for key, is_reversed in _parsed(self.sort or self.default):
            wanted.setdefault(key, is_reversed)
        return [opposite(self.keys[key]) if is_reversed else self.keys[key] for key, is_reversed in wanted.items()]


def _parsed(sort: str) -> Iterator[tuple[str, bool]]:
    """Yield each key, and whether it is reversed."""
    for part in filter(None, sort.split(",")):
        yield part.strip().removeprefix("-"), part.strip().startswith("-")


def _unknown(sort: str, keys: Mapping[str, Any]) -> list[str]:
    return [key for key, _ in _parsed(sort) if key not in keys]
