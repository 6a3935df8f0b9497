"""What all contenders must agree on, whether they return entities, schemas, dictionaries or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import select

from benchmarks.contenders import LIBRARY
from benchmarks.shop import Item, PlainItem
from benchmarks.stage import Stage

__all__ = ["item", "items", "mapped_class", "page", "result_as", "stored"]

Outcome = Callable[[str, Any, int], Awaitable[Any]]
Values = tuple[Any, ...]

_FIELDS = ("id", "name", "price", "quantity", "note")


def mapped_class(contender: str) -> type[Any]:
    """Return the mapped class whose table a contender works on."""
    return Item if contender in LIBRARY else PlainItem


def result_as(form: Callable[[Any], Any]) -> Outcome:
    """Return the outcome of an operation that reads: its result, in a form that all results have."""

    async def outcome(contender: str, result: Any, number: int) -> Any:
        return form(result)

    return outcome


def item(found: Any) -> Values:
    """Return the values of one item, in whatever form it comes."""
    if isinstance(found, Mapping):
        return tuple(cast("Mapping[str, Any]", found)[name] for name in _FIELDS)
    return tuple(getattr(found, name) for name in _FIELDS)


def items(found: Any) -> Sequence[Values]:
    """Return the values of several items."""
    return [item(each) for each in found]


def page(found: Any) -> tuple[Sequence[Values], int]:
    """Return the values of the items of a page, and the total."""
    if isinstance(found, tuple):
        rows, total = cast("tuple[Any, int]", found)
        return items(rows), total
    return items(found.items), found.total


async def stored(stage: Stage, contender: str, *, above: int = 0) -> Sequence[Values]:
    """Return the rows of the contender's table whose keys are above that one, by name."""
    mapped = mapped_class(contender)
    columns = [getattr(mapped, name) for name in _FIELDS]
    async with stage.engine.connect() as connection:
        found = await connection.execute(select(*columns).where(mapped.id > above).order_by(mapped.name))
        return [tuple(row) for row in found]
