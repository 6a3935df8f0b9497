"""Which columns make a unique key, by the metadata."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Index, String, UniqueConstraint, func, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from layered_backend.query.unique_keys import UniqueKey, has_other_keys, tells_rows_apart, unique_keys


class Base(DeclarativeBase):
    pass


_KIND: Column[str] = Column("kind", String(20))
DESCENDING = _KIND.desc()


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    a: Mapped[int] = mapped_column(unique=True)
    b: Mapped[int]
    renamed: Mapped[int] = mapped_column("c")
    __table_args__ = (
        UniqueConstraint("b", "c"),
        UniqueConstraint("b", deferrable=True),
        Index("partial", "c", unique=True, postgresql_where=Column("c") > 1),
        Index("beginning", "kind", unique=True, mysql_length=3),
        Index("descending", DESCENDING, "b", unique=True),
        Index("plain", "a", "b"),
        UniqueConstraint("kind", postgresql_nulls_not_distinct=True),
    )
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}  # noqa: RUF012


Index("expression", func.lower(Thing.kind), unique=True)


class Special(Thing):
    own: Mapped[int | None] = mapped_column(unique=True)
    __mapper_args__ = {"polymorphic_identity": "special"}  # noqa: RUF012


class Extended(Thing):
    __tablename__ = "extended"
    id: Mapped[int] = mapped_column(ForeignKey("things.id"), primary_key=True)
    size: Mapped[int] = mapped_column(unique=True)
    __mapper_args__ = {"polymorphic_identity": "extended"}  # noqa: RUF012


def _mapper(model: type[Any]) -> Mapper[Any]:
    mapper: Mapper[Any] = inspect(model)
    mapper.registry.configure()
    return mapper


def _table(model: type[Any]) -> Any:
    return _mapper(model).local_table


def _names(model: type[Any]) -> list[tuple[str, ...]]:
    return [tuple(column.key for column in key.columns) for key in unique_keys(_mapper(model))]


def test_keys_hold_for_all_rows_and_at_any_time() -> None:
    assert sorted(_names(Thing)) == [("a",), ("b", "c"), ("id",), ("kind",), ("kind", "b")]


def test_the_primary_key_is_the_first() -> None:
    assert _names(Thing)[0] == ("id",)


def test_a_key_of_a_subclass_is_none_of_the_base() -> None:
    assert ("own",) not in _names(Thing)
    assert ("own",) in _names(Special)


def test_a_joined_class_has_the_keys_of_each_of_its_tables() -> None:
    assert {("size",), ("a",), ("id",)} <= {*_names(Extended)}


def test_columns_with_a_whole_key_tell_rows_apart() -> None:
    columns = _table(Thing).columns
    assert tells_rows_apart(_mapper(Thing), [columns.a, columns.kind])
    assert tells_rows_apart(_mapper(Extended), [columns.a])
    assert not tells_rows_apart(_mapper(Thing), [columns.b])
    assert not tells_rows_apart(_mapper(Thing), [])


@pytest.mark.parametrize(("dialect", "are_equal"), [("postgresql", True), ("sqlite", False), ("another", False)])
def test_nulls_are_equal_where_the_database_knows_that(dialect: str, are_equal: bool) -> None:
    (key,) = [key for key in unique_keys(_mapper(Thing)) if [column.key for column in key.columns] == ["kind"]]
    assert key.takes_nulls_for_equal(dialect) is are_equal


def test_a_database_may_have_keys_that_the_others_do_not_know() -> None:
    class Slot(Base):
        __tablename__ = "slots"
        id: Mapped[int] = mapped_column(primary_key=True)
        place: Mapped[int]
        __table_args__ = (UniqueConstraint("place", deferrable=True),)

    class Lone(Base):
        __tablename__ = "lone"
        id: Mapped[int] = mapped_column(primary_key=True)

    def primary(model: type[Any]) -> UniqueKey:
        return unique_keys(_mapper(model))[0]

    assert has_other_keys(_table(Slot), primary(Slot))
    assert not has_other_keys(_table(Lone), primary(Lone))
