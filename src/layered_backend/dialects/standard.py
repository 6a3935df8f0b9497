"""The part of the SQL standard that SQLite, PostgreSQL and MariaDB share and other databases may lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, tuple_

from layered_backend.dialects.portable import PortableKeys, PortableOrdering, PortableWriting
from layered_backend.dialects.rows import Rows
from layered_backend.dialects.tuples import inserted_as_tuples

__all__ = ["StandardKeys", "StandardOrdering", "TupleWriting"]


class StandardKeys(PortableKeys):
    """Asks for keys of several columns by IN too."""

    def among_rows(self, key: Sequence[ColumnElement[Any]], identities: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
        return tuple_(*key).in_(identities)


class StandardOrdering(PortableOrdering):
    """Has NULLS FIRST and NULLS LAST, and knows where NULL goes without them."""

    seeks_by_row = True
    seeks_past_ties = True

    def places_nulls(self, *, is_descending: bool, nulls_first: bool) -> bool:
        return nulls_first == (is_descending == self.nulls_are_greatest)

    def with_nulls_placed(
        self, expression: ColumnElement[Any], direction: ColumnElement[Any], *, nulls_first: bool
    ) -> tuple[ColumnElement[Any], ...]:
        return (direction.nulls_first() if nulls_first else direction.nulls_last(),)


class TupleWriting(PortableWriting):
    """Hands rows on as the driver has them."""

    def insert_rows(self, connection: Connection, rows: Rows) -> None:
        if rows.size == 1 or not inserted_as_tuples(connection, rows):
            super().insert_rows(connection, rows)
