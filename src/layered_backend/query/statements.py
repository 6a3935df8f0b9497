"""The statements over all rows of a mapped class, built once: building one costs as much as reading a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, literal, select
from sqlalchemy.orm import Mapper

from layered_backend.query.criteria import Criterion
from layered_backend.query.joined_tables import checked_criteria
from layered_backend.query.sort_terms import LARGEST_ROW_NUMBER, row_number

__all__ = ["Statements", "cut_parameters", "has_key", "key_parameters", "total"]

_LIMIT, _OFFSET = "layered_limit", "layered_offset"


@dataclass(frozen=True)
class Statements:
    """The statements over the rows of a mapped class. Lives as long as the process.

    Attributes:
        mapper: The mapper of the mapped class.
        rows: The statement that selects all of them, in no order.
    """

    mapper: Mapper[Any]
    rows: Select[Any]

    def meeting(self, where: Sequence[Criterion], statement: Select[Any] | None = None) -> Select[Any]:
        """Return *statement*, or the one that selects all rows, for the rows that meet the criteria.

        Raises:
            TypeError: A criterion is no expression, or reads a table that the statement does not join.
            InvalidDataError: A criterion compares a column with a value that the column cannot hold.
        """
        statement = self.rows if statement is None else statement
        return statement.where(*checked_criteria(self.mapper, where)) if where else statement

    @cached_property
    def by_key(self) -> Select[Any]:
        """The statement for the row with the `key_parameters`."""
        return self.rows.where(*has_key(self.mapper))

    @cached_property
    def sorted(self) -> Select[Any]:
        """The statement for all rows, sorted by primary key."""
        return self.rows.order_by(*self.mapper.primary_key)

    @cached_property
    def cut(self) -> Select[Any]:
        """The statement for the rows between the `cut_parameters`, sorted by primary key."""
        return self.sorted.limit(bindparam(_LIMIT, type_=BigInteger)).offset(bindparam(_OFFSET, type_=BigInteger))

    @cached_property
    def page(self) -> Select[Any]:
        """The statement `cut`, with the total at the end of each row."""
        return self.cut.add_columns(total(self.count))

    @cached_property
    def count(self) -> Select[Any]:
        """The statement that counts all rows."""
        return select(func.count()).select_from(self.mapper)

    @cached_property
    def orders(self) -> dict[Any, Any]:
        """The orders of pages by cursor that are kept (see `order_of`)."""
        return {}

    @cached_property
    def exists(self) -> Select[Any]:
        """The statement that selects something if there is a row."""
        return select(literal(1)).select_from(self.mapper).limit(1)


def total(count: Select[Any]) -> ColumnElement[Any]:
    """Return *count* as a column of another statement."""
    return count.correlate(None).scalar_subquery().label("layered_total")


def has_key(mapper: Mapper[Any]) -> list[ColumnElement[bool]]:
    """Return the criteria of the row that has the `key_parameters`."""
    key = enumerate(mapper.primary_key)
    return [column == bindparam(f"key_{number}", type_=column.type) for number, column in key]


def key_parameters(identity: tuple[Any, ...]) -> dict[str, Any]:
    """Return the parameters of a statement `by_key`."""
    return {f"key_{number}": value for number, value in enumerate(identity)}


def cut_parameters(limit: int | None, offset: int | None) -> dict[str, Any]:
    """Return the parameters of a statement that is `cut`.

    Raises:
        InvalidDataError: One of the two is negative.
    """
    return {
        _LIMIT: LARGEST_ROW_NUMBER if limit is None else row_number("limit", limit),
        _OFFSET: row_number("offset", offset or 0),
    }
