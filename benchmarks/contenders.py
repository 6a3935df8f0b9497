"""The contenders, by the names that tables and bars use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = [
    "ADVANCED_ALCHEMY",
    "ALONE",
    "BARE",
    "ENTITIES",
    "ENTITIES_DEFERRED",
    "FASTAPI_PAGINATION",
    "FASTCRUD",
    "HAND",
    "KEYSET",
    "LIBRARY",
    "PEERS",
    "PROJECTION",
    "PROJECTION_DEFERRED",
    "SQLAKEYSET",
    "in_order",
]

HAND = "hand-written"
BARE = "bare endpoint"

ENTITIES = "entities"
ENTITIES_DEFERRED = "entities, deferred BEGIN"
PROJECTION = "projection"
PROJECTION_DEFERRED = "projection, deferred BEGIN"
ALONE = "projection alone"
LIBRARY = (ENTITIES, ENTITIES_DEFERRED, PROJECTION, PROJECTION_DEFERRED, ALONE)

KEYSET = "hand-written keyset"
ADVANCED_ALCHEMY = "advanced-alchemy"
FASTCRUD = "fastcrud"
SQLAKEYSET = "sqlakeyset"
FASTAPI_PAGINATION = "fastapi-pagination"
PEERS = (ADVANCED_ALCHEMY, FASTCRUD, SQLAKEYSET, FASTAPI_PAGINATION)

_ORDER = (HAND, KEYSET, *LIBRARY, *PEERS)


def in_order(names: Collection[str]) -> Sequence[str]:
    """Return *names* in the order of columns: hand-written code, the library, the peers."""
    return [name for name in _ORDER if name in names]
