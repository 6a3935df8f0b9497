"""Query parameters: unknown ones are refused, and the error names the allowed ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, ClassVar, cast, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["FilterMark", "QueryModel", "inner_marks"]


class FilterMark:
    """The base of what marks a field with the rows that its value asks for."""


class QueryModel(BaseModel):
    """The base of `FilterSet`, `Sorting`, `PageParams`, `OffsetParams` and `CursorParams`, which a route combines into one model.

    Two models that refuse unknown parameters would each refuse those of the other, so a route has one.

        class ItemQuery(ItemFilter, ItemSorting, PageParams): ...

        @router.get("/items")
        async def list_items(query: Annotated[ItemQuery, Query()]): ...

    Raises:
        TypeError: A field has a `Where`, and the model is no FilterSet, which alone would apply it.
    """

    _applies_marks: ClassVar[bool] = False

    # By name too: FastAPI 0.121 hands over what came under an alias by the name of its field.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", populate_by_name=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            marks = (*field.metadata, *inner_marks(field.annotation))
            if not cls._applies_marks and any(isinstance(mark, FilterMark) for mark in marks):
                raise TypeError(
                    f"{cls.__name__}.{name} has a Where, which only a FilterSet applies; derive from FilterSet"
                )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        given = cast("Mapping[str, Any]", data)
        unnamed = given.keys() - cls.model_fields.keys()
        if not unnamed:
            return given
        allowed = sorted(chain.from_iterable(_accepted(name, field) for name, field in cls.model_fields.items()))
        refusals = [_refusal(name, given[name], allowed) for name in sorted(unnamed.difference(allowed))]
        if refusals:
            raise ValidationError.from_exception_data(cls.__name__, refusals)
        return given


def inner_marks(annotation: object) -> Iterator[FilterMark]:
    """Yield the marks inside of *annotation*."""
    yield from (mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, FilterMark))
    for argument in get_args(annotation):
        yield from inner_marks(argument)


def _accepted(name: str, field: FieldInfo) -> Iterator[str]:
    """Yield what clients call a field: its aliases, or its name where it has none."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
    return (choice for choice in choices if isinstance(choice, str))


def _refusal(name: str, value: object, allowed: list[str]) -> InitErrorDetails:
    error = PydanticCustomError(
        "unknown_parameter", "There is no such parameter; allowed are {allowed}", {"allowed": ", ".join(allowed)}
    )
    return InitErrorDetails(type=error, loc=(name,), input=value)
