"""Reading, and writing one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import insert

from benchmarks.contenders import (
    ADVANCED_ALCHEMY,
    ALONE,
    ENTITIES,
    ENTITIES_DEFERRED,
    FASTAPI_PAGINATION,
    FASTCRUD,
    HAND,
    PROJECTION,
    PROJECTION_DEFERRED,
)
from benchmarks.layered import Entities
from benchmarks.measuring import Operation, Work
from benchmarks.operations.outcomes import item, items, mapped_class, page, result_as, stored
from benchmarks.peers.advanced_alchemy import AdvancedAlchemy
from benchmarks.peers.fastapi_pagination import FastapiPagination
from benchmarks.peers.fastcrud import FastCrud
from benchmarks.shop import STORED, ItemRead, item_values
from benchmarks.stage import Stage

__all__ = ["reading", "writing"]

_ITEMS = TypeAdapter(list[ItemRead])
_DELETED = 1_000_000  # and above: the keys of the rows that are there to be deleted


def reading(stage: Stage) -> Sequence[Operation]:
    """Return the operations that read."""
    hand, entities, projections, alone = stage.by_hand, stage.entities, stage.projections, stage.alone
    deferred, deferred_projections = stage.deferred_entities, stage.deferred_projections
    alchemy, crud, pagination = (
        AdvancedAlchemy(stage.sessions),
        FastCrud(stage.sessions),
        FastapiPagination(stage.sessions),
    )

    async def schemas_of(contender: Entities) -> Sequence[ItemRead]:
        return _ITEMS.validate_python(await contender.list(100), from_attributes=True)

    def read(name: str, form: Any, contenders: Mapping[str, Work], **options: Any) -> Operation:
        return Operation(section="Reading", name=name, outcome=result_as(form), contenders=contenders, **options)

    return [
        read(
            "get by key",
            item,
            {
                HAND: lambda number: hand.get(_key(number)),
                ENTITIES: lambda number: entities.get(_key(number)),
                ENTITIES_DEFERRED: lambda number: deferred.get(_key(number)),
                PROJECTION: lambda number: projections.get(_key(number)),
                PROJECTION_DEFERRED: lambda number: deferred_projections.get(_key(number)),
                ALONE: lambda number: alone.get(_key(number)),
                ADVANCED_ALCHEMY: lambda number: alchemy.get(_key(number)),
                FASTCRUD: lambda number: crud.get(_key(number)),
            },
        ),
        read(
            "list 100",
            items,
            {
                HAND: lambda _: hand.list(100),
                ENTITIES: lambda _: entities.list(100),
                ENTITIES_DEFERRED: lambda _: deferred.list(100),
                PROJECTION: lambda _: projections.list(100),
                PROJECTION_DEFERRED: lambda _: deferred_projections.list(100),
                ALONE: lambda _: alone.list(100),
                ADVANCED_ALCHEMY: lambda _: alchemy.list(100),
                FASTCRUD: lambda _: crud.list(100),
            },
            chunk=5,
        ),
        read(
            "100 rows to Pydantic",
            items,
            {
                HAND: lambda _: hand.list_schemas(100),
                ENTITIES: lambda _: schemas_of(entities),
                ENTITIES_DEFERRED: lambda _: schemas_of(deferred),
                PROJECTION: lambda _: projections.list(100),
                PROJECTION_DEFERRED: lambda _: deferred_projections.list(100),
                ALONE: lambda _: alone.list(100),
                ADVANCED_ALCHEMY: lambda _: alchemy.list_schemas(100),
                FASTCRUD: lambda _: crud.list_schemas(100),
            },
            chunk=5,
        ),
        read(
            "page of 50 with total",
            page,
            {
                HAND: lambda number: hand.page(_page(number), 50),
                ENTITIES: lambda number: entities.page(_page(number), 50),
                ENTITIES_DEFERRED: lambda number: deferred.page(_page(number), 50),
                PROJECTION: lambda number: projections.page(_page(number), 50),
                PROJECTION_DEFERRED: lambda number: deferred_projections.page(_page(number), 50),
                ALONE: lambda number: alone.page(_page(number), 50),
                ADVANCED_ALCHEMY: lambda number: alchemy.page(_page(number), 50),
                FASTCRUD: lambda number: crud.page(_page(number), 50),
                FASTAPI_PAGINATION: lambda number: pagination.page(_page(number), 50),
            },
            chunk=5,
        ),
        read(
            "exists",
            bool,
            {
                HAND: lambda number: hand.exists(_name(number)),
                ENTITIES: lambda number: entities.exists(_name(number)),
                ENTITIES_DEFERRED: lambda number: deferred.exists(_name(number)),
                ADVANCED_ALCHEMY: lambda number: alchemy.exists(_name(number)),
                FASTCRUD: lambda number: crud.exists(_name(number)),
            },
        ),
        read(
            "count",
            int,
            {
                HAND: lambda number: hand.count(number % 97),
                ENTITIES: lambda number: entities.count(number % 97),
                ENTITIES_DEFERRED: lambda number: deferred.count(number % 97),
                ADVANCED_ALCHEMY: lambda number: alchemy.count(number % 97),
                FASTCRUD: lambda number: crud.count(number % 97),
            },
        ),
    ]


def writing(stage: Stage) -> Sequence[Operation]:
    """Return the operations that write one row."""
    hand, entities, projections = stage.by_hand, stage.entities, stage.projections
    alchemy, crud = AdvancedAlchemy(stage.sessions), FastCrud(stage.sessions)

    async def created(contender: str, result: Any, number: int) -> Any:
        return await _written(stage, contender, result, above=STORED)

    async def updated(contender: str, result: Any, number: int) -> Any:
        return await _written(stage, contender, result, above=0)

    async def to_be_deleted(contender: str, numbers: Sequence[int]) -> None:
        rows = [{"id": _DELETED + number, **item_values(number, "deleted")} for number in numbers]
        async with stage.engine.begin() as connection:
            await connection.execute(insert(mapped_class(contender)), rows)

    async def deleted(contender: str, result: Any, number: int) -> Any:
        return await _written(stage, contender, None, above=STORED)

    return [
        Operation(
            section="Writing",
            name="create",
            contenders={
                HAND: lambda number: hand.create(_new(number)),
                ENTITIES: lambda number: entities.create(_new(number)),
                PROJECTION: lambda number: projections.create(_new(number)),
                ADVANCED_ALCHEMY: lambda number: alchemy.create(_new(number)),
                FASTCRUD: lambda number: crud.create(_new(number)),
            },
            outcome=created,
            after=stage.delete_new,
        ),
        Operation(
            section="Writing",
            name="update by key",
            contenders={
                HAND: lambda number: hand.update(_key(number), _changed(number)),
                ENTITIES: lambda number: entities.update(_key(number), _changed(number)),
                PROJECTION: lambda number: projections.update(_key(number), _changed(number)),
                ADVANCED_ALCHEMY: lambda number: alchemy.update(_key(number), _changed(number)),
                FASTCRUD: lambda number: crud.update(_key(number), _changed(number)),
            },
            outcome=updated,
            restore=stage.restock,
        ),
        Operation(
            section="Writing",
            name="delete by key",
            contenders={
                HAND: lambda number: hand.delete(_DELETED + number),
                ENTITIES: lambda number: entities.delete(_DELETED + number),
                PROJECTION: lambda number: projections.delete(_DELETED + number),
                ADVANCED_ALCHEMY: lambda number: alchemy.delete(_DELETED + number),
                FASTCRUD: lambda number: crud.delete(_DELETED + number),
            },
            outcome=deleted,
            before=to_be_deleted,
            after=stage.delete_new,
        ),
    ]


def _key(number: int) -> int:
    return number % STORED + 1


def _name(number: int) -> str:
    """Return a name, which every other time no item has."""
    return f"item {number % (2 * STORED)}"


def _page(number: int) -> int:
    return number % 20 + 1


def _new(number: int) -> dict[str, Any]:
    return item_values(number, "new")


def _changed(number: int) -> dict[str, Any]:
    return {"price": Decimal(number % 99_999) / 100 + 1, "quantity": number + STORED}


async def _written(stage: Stage, contender: str, result: Any, *, above: int) -> Any:
    """Return what is stored, but for the keys, which are given anew; what a contender returns must be one of those rows."""
    rows = await stored(stage, contender, above=above)
    if result is not None:
        assert item(result) in rows, f"{contender} returns {item(result)}, which is not stored"
    return [row[1:] for row in rows]
