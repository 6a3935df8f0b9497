"""Writing ten thousand rows.

All have every column: SQLAlchemy's bulk INSERT leaves None out, unless it is told not to, and then sends a statement for
each run of rows that lack the same columns, which would be 6,667 of them for the rows that the other operations have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contenders import ADVANCED_ALCHEMY, ENTITIES, FASTCRUD, HAND
from benchmarks.measuring import Operation
from benchmarks.operations.outcomes import stored
from benchmarks.peers.advanced_alchemy import AdvancedAlchemy
from benchmarks.peers.fastcrud import FastCrud, ItemUpsert
from benchmarks.shop import STORED, item_values
from benchmarks.stage import Stage

__all__ = ["bulk"]

_ROWS = 10_000


def bulk(stage: Stage) -> Sequence[Operation]:
    """Return the operations that write many rows.

    The rows are made beforehand, and given as an iterator, except to fastcrud, which takes a list of schemas.
    """
    hand, entities = stage.by_hand, stage.entities
    alchemy, crud = AdvancedAlchemy(stage.sessions), FastCrud(stage.sessions)
    new = [_complete(item_values(number, "new")) for number in range(_ROWS)]
    half_new = [_stored_or_new(number) for number in range(_ROWS)]
    with_keys = [ItemUpsert(id=STORED - _ROWS // 2 + 1 + number, **row) for number, row in enumerate(half_new)]

    async def written(contender: str, result: Any, number: int) -> Any:
        # Without the key, which is given anew, and without the note, which the peers change beside the quantity.
        return [row[1:-1] for row in await stored(stage, contender)]

    return [
        Operation(
            section="Writing",
            name="insert 10,000 rows",
            contenders={
                HAND: lambda _: hand.insert(iter(new)),
                ENTITIES: lambda _: entities.insert(iter(new)),
                ADVANCED_ALCHEMY: lambda _: alchemy.insert(iter(new)),
            },
            outcome=written,
            chunk=1,
            turns=1,
            after=stage.delete_new,
        ),
        Operation(
            section="Writing",
            name="upsert 10,000 rows",
            contenders={
                HAND: lambda _: hand.upsert(iter(half_new)),
                ENTITIES: lambda _: entities.upsert(iter(half_new)),
                ADVANCED_ALCHEMY: lambda _: alchemy.upsert(iter(half_new)),
                FASTCRUD: lambda _: crud.upsert(with_keys),
            },
            outcome=written,
            chunk=1,
            turns=1,
            after=stage.delete_new,
            restore=stage.restock,
        ),
    ]


def _stored_or_new(number: int) -> dict[str, Any]:
    """Return the first half of the rows with the names of the last that are stored, and another quantity."""
    key = STORED - _ROWS // 2 + number
    return _complete(item_values(key)) | {"quantity": number + STORED}


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"note": values["note"] or "no note"}
