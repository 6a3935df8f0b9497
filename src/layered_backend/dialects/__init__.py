"""The differences between databases: no other package compares a database's name."""

from __future__ import annotations

from layered_backend.dialects.dialect import DatabaseDialect
from layered_backend.dialects.given_keys import GivenKeys
from layered_backend.dialects.portable import (
    PortableConnections,
    PortableErrors,
    PortableKeys,
    PortableLocks,
    PortableMigrations,
    PortableOrdering,
    PortableTransactions,
    PortableValues,
    PortableWriting,
    is_read,
    refuse_writes,
)
from layered_backend.dialects.protocols import (
    Closeable,
    Connections,
    Errors,
    Keys,
    Locks,
    Migrations,
    Ordering,
    Transactions,
    Values,
    Writing,
)
from layered_backend.dialects.reading import Reading
from layered_backend.dialects.registry import dialect_named, register_dialect
from layered_backend.dialects.rows import Rows, UpsertRule
from layered_backend.dialects.sort_forms import GivenLater, SortForm

__all__ = [
    "Closeable",
    "Connections",
    "DatabaseDialect",
    "Errors",
    "GivenKeys",
    "GivenLater",
    "Keys",
    "Locks",
    "Migrations",
    "Ordering",
    "PortableConnections",
    "PortableErrors",
    "PortableKeys",
    "PortableLocks",
    "PortableMigrations",
    "PortableOrdering",
    "PortableTransactions",
    "PortableValues",
    "PortableWriting",
    "Reading",
    "Rows",
    "SortForm",
    "Transactions",
    "UpsertRule",
    "Values",
    "Writing",
    "dialect_named",
    "is_read",
    "refuse_writes",
    "register_dialect",
]
