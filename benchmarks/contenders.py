"""Who is measured, by the names that tables and bars use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = [
    "ADVANCED_ALCHEMY",
    "ALONE",
    "BARE",
    "ENTITIES",
    "FASTAPI_PAGINATION",
    "FASTCRUD",
    "HAND",
    "KEYSET",
    "PROJECTION",
    "SQLAKEYSET",
    "in_order",
]

HAND = "by hand"
BARE = "bare endpoint"

ENTITIES = "entities"
PROJECTION = "projection"
ALONE = "projection alone"

KEYSET = "keyset by hand"
ADVANCED_ALCHEMY = "advanced-alchemy"
FASTCRUD = "fastcrud"
SQLAKEYSET = "sqlakeyset"
FASTAPI_PAGINATION = "fastapi-pagination"

_ORDER = (
    HAND,
    KEYSET,
    ENTITIES,
    PROJECTION,
    ALONE,
    ADVANCED_ALCHEMY,
    FASTCRUD,
    SQLAKEYSET,
    FASTAPI_PAGINATION,
)


def in_order(names: Collection[str]) -> Sequence[str]:
    """Return *names* in the order of columns: by hand, the library, the peers."""
    return [name for name in _ORDER if name in names]
