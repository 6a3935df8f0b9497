"""Criteria: expressions that rows must meet, and query parameters that become such expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, cast

from pydantic import BaseModel
from sqlalchemy import ColumnElement, ColumnExpressionArgument

from layered_backend.batch import is_left_out
from layered_backend.query.column_limits import refuse_text_search
from layered_backend.query.parameters import FilterMark, QueryModel, inner_marks

__all__ = ["Criterion", "FilterSet", "Where"]

Criterion: TypeAlias = ColumnExpressionArgument[bool]
"""An expression that rows must meet: `Item.price < 5`."""

_TEXT_SEARCHES = frozenset({"contains", "startswith", "endswith", "icontains", "istartswith", "iendswith"})


class Where(FilterMark):
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
        TypeError: A bound operator searches for text in a column that holds none, such as an enumeration or a number.
    """

    def __init__(self, criterion: Callable[[Any], ColumnElement[bool]]) -> None:
        self._criterion = criterion
        searched = getattr(criterion, "__self__", None)
        self._searches_text = getattr(criterion, "__name__", "") in _TEXT_SEARCHES and searched is not None
        if self._searches_text:
            refuse_text_search(criterion, cast("Any", searched))

    def __call__(self, value: Any) -> ColumnElement[bool]:
        """Return the criterion for *value*.

        Raises:
            TypeError: The value is no text to search for.
        """
        if self._searches_text:
            escaping: Any = self._criterion
            expression: ColumnElement[bool] = escaping(value, autoescape=True)
            return expression
        return self._criterion(value)


class FilterSet(QueryModel):
    """The filters that a route offers, each a field with a `Where`. A field that is None, or Pydantic's MISSING, does not filter.

        class ItemFilter(FilterSet):
            name: Annotated[str | None, Where(Item.name.icontains)] = None

    A query model that is combined of several classes may have fields without a `Where`, if a class declares them that is
    no FilterSet: `page` of `PageParams`, or a parameter that the route reads itself, in a `BaseModel` of its own.

    Raises:
        TypeError: A field has no `Where`, or has it inside of its annotation, where it would be overlooked.
    """

    _applies_marks: ClassVar[bool] = True

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        others = [base for base in cls.__mro__ if issubclass(base, BaseModel) and not issubclass(base, FilterSet)]
        for name, field in cls.model_fields.items():
            if any(inner_marks(field.annotation)):
                raise TypeError(
                    f"{cls.__name__}.{name}: a Where belongs around the whole type, Annotated[str | None, Where(...)]"
                )
            is_filter = any(isinstance(mark, Where) for mark in field.metadata)
            if not is_filter and not any(name in base.model_fields for base in others):
                raise TypeError(
                    f"{cls.__name__}.{name} has no Where, so it would filter nothing; write "
                    "Annotated[str | None, Where(...)], or declare it in a BaseModel that the query model derives from too"
                )

    def where(self) -> list[ColumnElement[bool]]:
        """Return the criteria of the fields that have a value, all of which must hold."""
        given = ((getattr(self, name), field.metadata) for name, field in type(self).model_fields.items())
        present = [(value, marks) for value, marks in given if value is not None and not is_left_out(value)]
        return [mark(value) for value, marks in present for mark in marks if isinstance(mark, Where)]
