"""Pages far behind in a million rows.

The database's own work counts here, so time is measured as it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.contenders import (
    ADVANCED_ALCHEMY,
    ALONE,
    ENTITIES,
    FASTAPI_PAGINATION,
    FASTCRUD,
    HAND,
    KEYSET,
    PROJECTION,
    SQLAKEYSET,
)
from benchmarks.measuring import Operation
from benchmarks.operations.outcomes import items, page, result_as
from benchmarks.peers.advanced_alchemy import AdvancedAlchemy
from benchmarks.peers.fastapi_pagination import FastapiPagination
from benchmarks.peers.fastcrud import FastCrud
from benchmarks.peers.sqlakeyset import Sqlakeyset
from benchmarks.shop import Item
from benchmarks.stage import Stage
from layered_backend.query.cursor import Cursor, encoded, fingerprint
from layered_backend.query.sort_terms import total_order

__all__ = ["far"]

_ROW = 990_000
_SIZE = 50


def far(stage: Stage) -> Sequence[Operation]:
    """Return the operations; they need a million rows."""
    hand, entities, projections, alone = stage.by_hand, stage.entities, stage.projections, stage.alone
    alchemy, crud = AdvancedAlchemy(stage.sessions), FastCrud(stage.sessions)
    keyset, pagination = Sqlakeyset(stage.sessions), FastapiPagination(stage.sessions)
    ours, theirs = _cursor(stage), pagination.cursor_behind(_ROW)
    number = _ROW // _SIZE + 1
    operation = partial(
        Operation, section="Pages of a million rows", measure="wall", begin=stage.grow, chunk=3, turns=3
    )
    return [
        operation(
            name="page at row 990,000",
            contenders={
                HAND: lambda _: hand.slice(_ROW, _SIZE),
                KEYSET: lambda _: hand.slice_after(_ROW, _SIZE),
                ENTITIES: lambda _: entities.cursor_page(ours, _SIZE),
                PROJECTION: lambda _: projections.cursor_page(ours, _SIZE),
                ALONE: lambda _: alone.cursor_page(ours, _SIZE),
                ADVANCED_ALCHEMY: lambda _: alchemy.slice(_ROW, _SIZE),
                FASTCRUD: lambda _: crud.slice_after(_ROW, _SIZE),
                SQLAKEYSET: lambda _: keyset.slice_after(_ROW, _SIZE),
                FASTAPI_PAGINATION: lambda _: pagination.slice_after(theirs, _SIZE),
            },
            outcome=result_as(lambda found: items(getattr(found, "items", found))),
        ),
        operation(
            name="page at row 990,000 by number, with total",
            contenders={
                HAND: lambda _: hand.page(number, _SIZE),
                ENTITIES: lambda _: entities.page(number, _SIZE),
                PROJECTION: lambda _: projections.page(number, _SIZE),
                ALONE: lambda _: alone.page(number, _SIZE),
                ADVANCED_ALCHEMY: lambda _: alchemy.page(number, _SIZE),
                FASTCRUD: lambda _: crud.page(number, _SIZE),
                FASTAPI_PAGINATION: lambda _: pagination.page(number, _SIZE),
            },
            outcome=result_as(page),
            chunk=1,
        ),
    ]


def _cursor(stage: Stage) -> str:
    """Return the cursor that the page before the one far behind would give."""
    mapper, dialect = Item.__mapper__, stage.engine.dialect
    return encoded(Cursor((_ROW,)), fingerprint(total_order(mapper, None), (), str(mapper.local_table), dialect))
