"""Criteria: expressions that rows must meet, and query parameters that become such expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, get_args

from sqlalchemy import ColumnElement, ColumnExpressionArgument

from layered_backend.batch import is_left_out
from layered_backend.columns import kind_of
from layered_backend.errors import InvalidDataError
from layered_backend.query.parameters import QueryModel

__all__ = ["Criterion", "FilterSet", "Where"]

Criterion: TypeAlias = ColumnExpressionArgument[bool]
"""An expression that rows must meet: `Item.price < 5`."""

_TEXT_SEARCHES = frozenset({"contains", "startswith", "endswith", "icontains", "istartswith", "iendswith"})


class Where:
    """Marks a field of a `FilterSet` with the criterion that its value makes.

        name: Annotated[str | None, Where(Item.name.icontains)] = None
        cheaper_than: Annotated[Decimal | None, Where(lambda price: Item.price < price)] = None
        color: Annotated[list[str] | None, Where(Item.color.in_)] = None
        category: Annotated[str | None, Where(lambda name: Item.category.has(Category.name == name))] = None

    Criteria on related rows are written with `relationship.any` and `relationship.has`: a join would repeat rows.

    Args:
        criterion: From the value to an expression. The bound operators `contains`, `startswith` and `endswith`, and
            their forms that ignore case, take the value as plain text: `%` and `_` in it are characters.

    Raises:
        TypeError: It searches for text in a column of another type, which some databases refuse.
    """

    def __init__(self, criterion: Callable[[Any], ColumnElement[bool]]) -> None:
        self._criterion = criterion
        self._searches_text = getattr(criterion, "__name__", "") in _TEXT_SEARCHES and hasattr(criterion, "__self__")
        searched: Any = getattr(criterion, "__self__", None) if self._searches_text else None
        if searched is not None and kind_of(searched.type).is_text is False:
            raise TypeError(
                f"{searched} holds no text that every database can search; compare it, or cast it to String first"
            )

    def __call__(self, value: Any) -> ColumnElement[bool]:
        """Return the criterion for *value*.

        Raises:
            InvalidDataError: Text to search for holds a NUL: PostgreSQL has none, and SQLite's LIKE ends its pattern there.
        """
        if self._searches_text:
            if isinstance(value, str) and "\0" in value:
                raise InvalidDataError("text to search for cannot hold a NUL character")
            escaping: Any = self._criterion
            expression: ColumnElement[bool] = escaping(value, autoescape=True)
            return expression
        return self._criterion(value)


class FilterSet(QueryModel):
    """The filters that a route offers, each a field with a `Where`. A field that is None, or Pydantic's MISSING, does not filter.

        class ItemFilter(FilterSet):
            name: Annotated[str | None, Where(Item.name.icontains)] = None

    Raises:
        TypeError: A `Where` is inside of the annotation of its field, and would be overlooked.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if any(isinstance(mark, Where) for mark in _inner_marks(field.annotation)):
                raise TypeError(
                    f"{cls.__name__}.{name}: a Where belongs around the whole type, Annotated[str | None, Where(...)]"
                )

    def where(self) -> list[ColumnElement[bool]]:
        """Return the criteria of the fields that have a value, all of which must hold."""
        given = ((getattr(self, name), field.metadata) for name, field in type(self).model_fields.items())
        present = [(value, marks) for value, marks in given if value is not None and not is_left_out(value)]
        return [mark(value) for value, marks in present for mark in marks if isinstance(mark, Where)]


def _inner_marks(annotation: object) -> Iterator[object]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _inner_marks(argument)
