"""A dialect: the parts that tell how one database differs from others."""

from __future__ import annotations

from dataclasses import dataclass, field

from layered_backend.dialects.portable import (
    PortableErrors,
    PortableKeys,
    PortableLocks,
    PortableMigrations,
    PortableOrdering,
    PortableTransactions,
    PortableValues,
    PortableWriting,
)
from layered_backend.dialects.protocols import (
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

__all__ = ["DatabaseDialect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseDialect:
    """One database's ways, in parts. Lives as long as the process; one serves every engine of its kind.

    Only the drivers have no default. What the other parts are by default is right for every database, and often slower.

    Attributes:
        connections: How connections are opened and set up; names the drivers.
        transactions: How transactions begin, what undoes them and how they end.
        errors: How the errors of the drivers read.
        writing: How rows are inserted, upserted and deleted.
        keys: How rows are asked for by many keys.
        ordering: How rows are sorted and sought by their place in an order.
        locks: How processes wait for each other.
        values: How columns store values.
        migrations: What a migration needs around its statements.
    """

    connections: Connections
    transactions: Transactions = field(default_factory=PortableTransactions)
    errors: Errors = field(default_factory=PortableErrors)
    writing: Writing = field(default_factory=PortableWriting)
    keys: Keys = field(default_factory=PortableKeys)
    ordering: Ordering = field(default_factory=PortableOrdering)
    locks: Locks = field(default_factory=PortableLocks)
    values: Values = field(default_factory=PortableValues)
    migrations: Migrations = field(default_factory=PortableMigrations)
