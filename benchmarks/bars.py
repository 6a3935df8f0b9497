"""The bars: the most that each operation may cost, as a part of the hand-written operation or as an amount."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.contenders import ALONE, ENTITIES, ENTITIES_DEFERRED, HAND, PROJECTION, PROJECTION_DEFERRED

__all__ = ["BARS", "MORE_ON_SQLITE", "bars_of"]

MORE_ON_SQLITE = 0.05  # of a ratio of processor time: no round trip to a server hides what a layer adds

_RATIOS: Mapping[str, Mapping[str, float]] = {
    "get by key": {
        ENTITIES: 1.00,
        ENTITIES_DEFERRED: 0.85,
        PROJECTION: 0.90,
        PROJECTION_DEFERRED: 0.60,
        ALONE: 0.40,
    },
    "list 100": {
        ENTITIES: 1.00,
        ENTITIES_DEFERRED: 0.95,
        PROJECTION: 0.80,
        PROJECTION_DEFERRED: 0.65,
        ALONE: 0.55,
    },
    "page of 50 with total": {
        ENTITIES: 0.85,
        ENTITIES_DEFERRED: 0.70,
        PROJECTION: 0.65,
        PROJECTION_DEFERRED: 0.50,
        ALONE: 0.40,
    },
    "exists": {ENTITIES: 0.95, ENTITIES_DEFERRED: 0.65},
    "count": {ENTITIES: 0.95, ENTITIES_DEFERRED: 0.70},
    "create": {ENTITIES: 1.10},
    "update by key": {ENTITIES: 0.90},
    "delete by key": {ENTITIES: 0.80},
    "insert 10,000 rows": {ENTITIES: 0.30},
    "upsert 10,000 rows": {ENTITIES: 0.45},
    "re-seed 100,000 rows, against rows": {ENTITIES: 1.20},
    "GET one": {
        ENTITIES: 1.00,
        ENTITIES_DEFERRED: 0.90,
        PROJECTION: 0.95,
        PROJECTION_DEFERRED: 0.65,
        ALONE: 0.55,
    },
    "GET a list of 50": {ENTITIES: 1.00, ENTITIES_DEFERRED: 0.95},
    "POST": {ENTITIES: 1.10},
}
_OTHERS: Mapping[str, Mapping[str, float | str]] = {
    "dependencies of an endpoint that does nothing": {ENTITIES: HAND, ALONE: HAND},
    "page at row 990,000": {ENTITIES: 0.04, PROJECTION: 0.04, ALONE: 0.04},
    "stream 1,000,000 rows, growth": {ENTITIES: 10, PROJECTION: 10, ALONE: 10},
    "insert 1,000,000 rows from a generator, growth": {ENTITIES: 32},
}

BARS: Mapping[str, Mapping[str, float | str]] = {**_RATIOS, **_OTHERS}
"""The bars by operation and contender. A name in place of a number is the contender that must not be exceeded."""


def bars_of(operation: str, dialect: str) -> Mapping[str, float | str]:
    """Return the bars of an operation on a database, by contender."""
    if dialect == "sqlite" and operation in _RATIOS:
        return {name: round(bar + MORE_ON_SQLITE, 2) for name, bar in _RATIOS[operation].items()}
    return BARS.get(operation, {})
