"""What each operation may cost at most, as a part of what it costs by hand."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ALONE", "BARS", "ENTITIES", "PROJECTION", "bars_of"]

ENTITIES = "entities"
PROJECTION = "projection"
ALONE = "projection alone"

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
    "page of 50 with total": {ENTITIES: 0.70, PROJECTION: 0.50, ALONE: 0.42},
}


def bars_of(operation: str, dialect: str) -> Mapping[str, float]:
    """Return the bars of an operation on a database, by contender."""
    bars = BARS.get(operation, {})
    return {name: bar if isinstance(bar, (int, float)) else bar[dialect] for name, bar in bars.items()}
