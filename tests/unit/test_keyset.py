"""Orders, cursors and the criterion between them, on SQLite in memory; `tests/integration/test_pages.py` has them all."""

from __future__ import annotations

import base64
import enum
import functools
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    JSON,
    Enum,
    ForeignKey,
    Index,
    Interval,
    MetaData,
    String,
    UniqueConstraint,
    Uuid,
    column,
    create_engine,
    func,
    inspect,
    join,
    select,
    text,
    true,
)
from sqlalchemy.dialects.mysql import dialect as mysql_dialect
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.orm import Mapped, column_property, mapped_column
from sqlalchemy.types import TypeEngine

from layered_backend import Base as LibraryBase
from layered_backend import InvalidCursorError
from layered_backend.dialects import dialect_named
from layered_backend.dialects.sqlite.ordering import SQLiteOrdering
from layered_backend.query.cursor import Cursor, decoded, encoded, fingerprint
from layered_backend.query.keyset import keys_of
from layered_backend.query.keyset_ranges import KeysetRange, list_all, list_behind
from layered_backend.query.sort_terms import Term, listed, order_by_clauses, total_order
from tests.shop import Category, Item, Stock

SQLITE = sqlite_dialect()


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class SQLiteWithoutRows(SQLiteOrdering):
    """Compares one column after the other, as MariaDB must."""

    seeks_by_row = False


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int | None]
    b: Mapped[int]
    flag: Mapped[bool]
    text: Mapped[str]
    number: Mapped[Decimal]
    ratio: Mapped[float]
    moment: Mapped[datetime]
    day: Mapped[date]
    hour: Mapped[time]
    span: Mapped[timedelta] = mapped_column(Interval)
    key: Mapped[uuid.UUID] = mapped_column(Uuid)
    raw: Mapped[bytes]
    color: Mapped[Color] = mapped_column(Enum(Color))


class Keyed(Base):
    __tablename__ = "keyed"
    __table_args__ = (
        UniqueConstraint("a", "b"),
        UniqueConstraint("deferred", deferrable=True),
        Index("keyed_c", "c", unique=True),
        Index("keyed_partly", "partly", unique=True, postgresql_where=text("partly > 0")),
        Index("keyed_folded", func.lower(column("folded")), unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int]
    b: Mapped[int]
    c: Mapped[int]
    deferred: Mapped[int]
    partly: Mapped[int]
    folded: Mapped[str]


class LateKeyed(Keyed):
    __tablename__ = "late_keyed"

    id: Mapped[int] = mapped_column(ForeignKey("keyed.id"), primary_key=True)
    d: Mapped[int] = mapped_column(unique=True)


CATEGORIES, ITEMS = inspect(Category).local_table, inspect(Item).local_table


class Shelved(Base):
    """Rows of two tables, in which what is unique in one of them may be repeated."""

    __table__ = join(CATEGORIES, ITEMS, ITEMS.c.category_id == CATEGORIES.c.id)
    id = column_property(CATEGORIES.c.id, ITEMS.c.category_id)
    item_id = column_property(ITEMS.c.id)
    name = column_property(ITEMS.c.name)
    category_name = column_property(CATEGORIES.c.name)


ORDERS = {
    "a": Thing.a,
    "a descending": Thing.a.desc(),
    "a nulls first": Thing.a.nulls_first(),
    "a descending nulls last": Thing.a.desc().nulls_last(),
    "b": Thing.b,
    "b descending": Thing.b.desc(),
}
Row = tuple[int, int | None, int]


def _terms(names: Sequence[str]) -> list[Term]:
    return total_order(inspect(Thing), [ORDERS[name] for name in names])


def _types(order_by: Any) -> list[TypeEngine[Any]]:
    return [term.expression.type for term in total_order(inspect(Thing), order_by)]


def _compare(names: Sequence[str], one: Row, other: Row) -> int:
    for name in names:
        left, right = (row[1] if name.startswith("a") else row[2] for row in (one, other))
        if left == right:
            continue
        is_descending = "descending" in name
        nulls_first = "first" in name or (is_descending and "last" not in name)
        if left is None or right is None:
            return -1 if (left is None) == nulls_first else 1
        return -1 if (left < right) != is_descending else 1
    return (one[0] - other[0]) * (-1 if names and "descending" in names[-1] else 1)


small = st.integers(0, 3)
rows_of_things = st.lists(st.tuples(st.none() | small, small), max_size=12)
sorts = st.lists(st.sampled_from(sorted(ORDERS)), max_size=3, unique_by=lambda name: name[0])


class TestOrder:
    @given(rows_of_things, sorts, st.booleans())
    def test_what_comes_behind_a_row_is_what_a_sorted_list_has_behind_it(
        self, values: list[tuple[int | None, int]], names: list[str], by_row: bool
    ) -> None:
        rows: list[Row] = [(number, a, b) for number, (a, b) in enumerate(values)]
        expected = [row[0] for row in sorted(rows, key=functools.cmp_to_key(functools.partial(_compare, names)))]
        terms = _terms(names)
        table = inspect(Thing).local_table
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE things (id, a, b)")
            if rows:
                connection.exec_driver_sql("INSERT INTO things VALUES (?, ?, ?)", rows)
            order_by = order_by_clauses(terms, dialect_named("sqlite").ordering)
            in_order = connection.execute(select(table.c.id, *(t.expression for t in terms)).order_by(*order_by)).all()

            def read(ranges: Iterable[KeysetRange]) -> list[int]:
                parts = [connection.scalars(each.of(select(table.c.id), 99)).all() for each in ranges]
                assert len(parts) <= 2 * len(terms), "the number of statements is bound by that of the terms"
                return [number for part in parts for number in part]

            ordering, keys = (SQLiteOrdering if by_row else SQLiteWithoutRows)(), keys_of(terms, engine.dialect)
            every = read(list_all(keys, ordering))
            tails = [read(list_behind(keys, row[1:], ordering)) for row in in_order]
        engine.dispose()

        assert [row[0] for row in in_order] == every == expected
        assert tails == [expected[place + 1 :] for place in range(len(expected))]

    def test_the_primary_key_comes_last_unless_it_is_there(self) -> None:
        by_key = total_order(inspect(Stock), [Stock.item_code.desc(), Stock.amount])

        assert [str(term.expression) for term in by_key] == ["stocks.item_code", "stocks.amount", "stocks.warehouse"]
        assert [term.is_nullable for term in by_key] == [False, False, False]

    def test_an_expression_may_be_null_whatever_its_columns_are(self) -> None:
        terms = total_order(inspect(Item), [func.lower(Item.name), Item.color])

        assert [term.is_nullable for term in terms] == [True, False, False]

    def test_the_primary_key_goes_in_the_direction_of_the_last_term(self) -> None:
        terms = total_order(inspect(Stock), [Stock.item_code, Stock.amount.desc()])

        assert [(str(term.expression), term.is_descending) for term in terms] == [
            ("stocks.item_code", False),
            ("stocks.amount", True),
            ("stocks.warehouse", True),
        ]

    @pytest.mark.parametrize(
        ("entity", "order_by", "is_needed"),
        [
            (Item, Item.name.desc(), False),
            (Item, [Item.price, Item.name], False),
            (Item, Item.price, True),
            (Item, func.lower(Item.name), True),
            (Item, [Item.shelf, Item.position], True),  # a unique key, in which NULL may be more than once
            (Keyed, Keyed.a, True),
            (Keyed, [Keyed.b, Keyed.a], False),
            (Keyed, Keyed.c, False),
            (Keyed, Keyed.deferred, True),
            (Keyed, Keyed.partly, True),
            (Keyed, Keyed.folded, True),
            (LateKeyed, LateKeyed.c, False),
            (LateKeyed, LateKeyed.d, False),
            (Shelved, Shelved.category_name, True),
        ],
        ids=lambda value: ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value),
    )
    def test_the_primary_key_is_left_out_where_a_key_without_null_tells_the_rows_apart(
        self, entity: type[Any], order_by: Any, is_needed: bool
    ) -> None:
        terms = total_order(inspect(entity), order_by)

        assert (len(terms) > len(listed(inspect(entity), order_by))) is is_needed

    def test_a_column_of_another_table_is_refused_as_it_would_multiply_the_rows(self) -> None:
        with pytest.raises(TypeError, match=r"categories\.name is not of Item, .* column_property"):
            total_order(inspect(Item), Category.name.desc())

        related = select(Category.name).where(Category.id == Item.category_id).scalar_subquery()
        assert len(total_order(inspect(Item), related)) == 2

    @pytest.mark.parametrize("order_by", ["name", ["name"]])
    def test_text_is_refused(self, order_by: Any) -> None:
        with pytest.raises(TypeError, match="order_by of Item is of the type str, which is no SQL expression"):
            total_order(inspect(Item), order_by)

    @pytest.mark.parametrize(
        ("database", "ascending", "descending", "first"),
        [
            ("sqlite", "things.a ASC NULLS LAST", "things.a DESC NULLS FIRST", "things.a ASC"),
            ("postgresql", "things.a ASC", "things.a DESC", "things.a ASC NULLS FIRST"),
            ("mariadb", "things.a IS NULL ASC, things.a ASC", "things.a IS NULL DESC, things.a DESC", "things.a ASC"),
        ],
    )
    def test_where_nulls_stand_is_written_out_where_the_database_differs(
        self, database: str, ascending: str, descending: str, first: str
    ) -> None:
        def clauses(name: str) -> str:
            (term, _) = _terms([name])
            written = [
                str(clause).replace("(", "").replace(")", "")
                for clause in term.clauses(dialect_named(database).ordering)
            ]
            return ", ".join(written)

        assert clauses("a") == ascending
        assert clauses("a descending") == descending
        assert clauses("a nulls first") == first


VALUES = {
    "a": st.none() | st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "text": st.text(),
    "number": st.decimals(allow_nan=False, allow_infinity=False),
    "ratio": st.floats(allow_nan=False),
    "moment": st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "hour": st.times(),
    "span": st.timedeltas(),
    "key": st.uuids(),
    "raw": st.binary(),
}


class TestCursor:
    @given(st.fixed_dictionaries(VALUES), st.booleans(), st.booleans())
    def test_what_was_put_in_comes_out(self, values: dict[str, Any], is_backward: bool, is_inclusive: bool) -> None:
        types = _types([getattr(Thing, name) for name in values])
        cursor = Cursor((*values.values(), 7), is_backward, is_inclusive)

        text = encoded(cursor, "fingerprint-")

        assert decoded(text, "fingerprint-", types) == cursor
        assert [type(value) for value in decoded(text, "fingerprint-", types).values] == [
            type(value) for value in cursor.values
        ]
        assert text.replace("-", "").replace("_", "").isalnum(), "it goes into a URL as it is"

    @given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidCursorError, match="the cursor is broken or was made for another sort or filter"):
            decoded("fingerprint-" + text, "fingerprint-", _types(Thing.a))

    @pytest.mark.parametrize(
        "values",
        [
            ("x", 1),
            (1,),
            (1, 2, 3),
            ([], 1),
            ({}, 1),
            (["enum", "RED"], 1),
            (["date", "2024-01-01"], 1),
            (["decimal", "NaN"], 1),
            (["decimal", "1e2000000"], 1),
            (1, ["uuid", "x"]),
        ],
    )
    def test_values_that_do_not_fit_the_sort_are_refused(self, values: tuple[Any, ...]) -> None:
        content = f"[false,false,{list(values)!r}]".replace("'", '"').replace("True", "true")
        text = base64.urlsafe_b64encode(content.encode()).decode()

        with pytest.raises(InvalidCursorError):
            decoded("f" + text, "f", _types(Thing.a))

    def test_a_value_without_a_notation_is_refused_by_name(self) -> None:
        with pytest.raises(TypeError, match="a cursor cannot hold a complex"):
            encoded(Cursor((1j,)), "f")

    def test_it_is_bound_to_entity_sort_filter_and_the_values_in_it(self) -> None:
        by_name, by_price = (total_order(inspect(Item), [column]) for column in (Item.name, Item.price))
        backwards = total_order(inspect(Item), [Item.name.desc()])
        fingerprints = [
            fingerprint(by_name, [], "Item", SQLITE),
            fingerprint(by_name, [], "Other", SQLITE),
            fingerprint(by_price, [], "Item", SQLITE),
            fingerprint(backwards, [], "Item", SQLITE),
            fingerprint(by_name, [Item.price > 5], "Item", SQLITE),
            fingerprint(by_name, [Item.price > 6], "Item", SQLITE),
            fingerprint(by_name, [Item.price.in_([6, 7])], "Item", SQLITE),
            fingerprint(by_name, [Item.price.in_([6, 8])], "Item", SQLITE),
            fingerprint(by_name, [true()], "Item", SQLITE),
        ]

        assert len(set(fingerprints)) == len(fingerprints)
        assert fingerprint(by_name, [Item.price > 5], "Item", SQLITE) == fingerprints[4]


class TestForms:
    @pytest.mark.parametrize(
        ("column_type", "message"),
        [
            (JSON(), r"cursor pages cannot be sorted by x: what MariaDB sorts of its type cannot be compared"),
            (CHAR(5, collation="utf8mb4_nopad_bin"), r"cursor pages cannot be sorted by x: .* make it a VARCHAR"),
        ],
        ids=str,
    )
    def test_what_cannot_be_compared_as_it_is_sorted_is_refused(
        self, column_type: TypeEngine[Any], message: str
    ) -> None:
        with pytest.raises(TypeError, match=message):
            dialect_named("mariadb").ordering.sort_form(column("x", column_type), mysql_dialect())

    def test_an_enum_that_is_no_column_is_sorted_by_name_on_mariadb(self) -> None:
        form = dialect_named("mariadb").ordering.sort_form(func.coalesce(Thing.color, "RED"), mysql_dialect())

        assert isinstance(form.read.type, String)
        assert not isinstance(form.read.type, Enum)
