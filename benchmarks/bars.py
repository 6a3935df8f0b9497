"""What each operation may cost at most, as a part of what it costs by hand."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.contenders import ALONE, ENTITIES, PROJECTION

__all__ = ["BARS", "bars_of"]

Bar = float | Mapping[str, float]
"""On every database, or on each by its dialect."""

BARS: Mapping[str, Mapping[str, Bar]] = {
    "get by key": {ENTITIES: 0.85, PROJECTION: 0.50, ALONE: {"postgresql": 0.35, "sqlite": 0.50}},
    "list 100": {ENTITIES: 1.0, PROJECTION: 0.55, ALONE: 0.50},
    "100 rows to Pydantic": {ENTITIES: 1.0, PROJECTION: 0.60, ALONE: 0.55},
    "exists": {ENTITIES: 0.70},
    "count": {ENTITIES: 0.85},
    "create": {ENTITIES: 1.05, PROJECTION: 0.60},
    "update by key": {ENTITIES: 0.90, PROJECTION: 0.50},
    "delete by key": {ENTITIES: 0.80},
    "insert 10,000 rows": {ENTITIES: {"postgresql": 0.45, "sqlite": 0.95}},
    "upsert 10,000 rows": {ENTITIES: {"postgresql": 0.65, "sqlite": 1.0}},
    "re-seed 100,000 rows, against rows": {ENTITIES: 1.0},
    "re-seed 100,000 rows, against entities": {ENTITIES: 1.0},
    "GET one": {ENTITIES: 1.05, PROJECTION: 0.60, ALONE: 0.60},
    "GET a list of 50": {ENTITIES: 1.05, PROJECTION: 0.65, ALONE: 0.65},
    "POST": {ENTITIES: 1.0, PROJECTION: 0.70},
    "dependencies of an endpoint that does nothing": {ENTITIES: 60, ALONE: 60},
    "page at row 990,000": {ENTITIES: 0.03, PROJECTION: 0.03, ALONE: 0.03},
    "stream 1,000,000 rows, growth": {ENTITIES: 10, PROJECTION: 10, ALONE: 10},
    "insert 1,000,000 rows from a generator, growth": {ENTITIES: 32},
    "page of 50 with total": {ENTITIES: 0.70, PROJECTION: 0.50, ALONE: 0.42},
}


def bars_of(operation: str, dialect: str) -> Mapping[str, float]:
    """Return the bars of an operation on a database, by contender."""
    bars = BARS.get(operation, {})
    return {name: bar if isinstance(bar, (int, float)) else bar[dialect] for name, bar in bars.items()}
