"""How the library has SQLAlchemy read tables."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import MetaData, Table, create_engine, text
from sqlalchemy.engine.reflection import Inspector

from layered_backend.upstream.sqlalchemy.reflection import reflect_by, verify_reflection


class _Remembering(Inspector):
    read: ClassVar[list[str]] = []

    def reflect_table(self, table: Table, *args: Any, **options: Any) -> None:
        self.read.append(table.name)
        super().reflect_table(table, *args, **options)


def test_tables_are_read_by_another_inspector_of_one_engine() -> None:
    engine, other = create_engine("sqlite://"), create_engine("sqlite://")
    for each in (engine, other):
        with each.begin() as connection:
            connection.execute(text("CREATE TABLE teas (id INTEGER)"))

    verify_reflection()
    reflect_by(_Remembering, engine.dialect)
    MetaData().reflect(engine)
    MetaData().reflect(other)

    assert _Remembering.read == ["teas"]
    engine.dispose()
    other.dispose()
