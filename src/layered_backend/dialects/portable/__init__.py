"""A dialect that is right for every database of SQLAlchemy's, where a faster one exists for some of them."""

from __future__ import annotations

from layered_backend.dialects.portable.connections import (
    PortableConnections,
    PortableMigrations,
    PortableTransactions,
)
from layered_backend.dialects.portable.errors import PortableErrors
from layered_backend.dialects.portable.locks import PortableLocks
from layered_backend.dialects.portable.queries import (
    INT64,
    PortableKeys,
    PortableOrdering,
    PortableValues,
    declared_places,
)
from layered_backend.dialects.portable.read_only import is_read, refuse_writes
from layered_backend.dialects.portable.writing import PortableWriting

__all__ = [
    "INT64",
    "PortableConnections",
    "PortableErrors",
    "PortableKeys",
    "PortableLocks",
    "PortableMigrations",
    "PortableOrdering",
    "PortableTransactions",
    "PortableValues",
    "PortableWriting",
    "declared_places",
    "is_read",
    "refuse_writes",
]
