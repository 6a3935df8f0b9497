from __future__ import annotations

import enum
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, DateTime, Enum, Integer, SmallInteger, String, Uuid, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.mysql import BIGINT
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend.dialects import dialect_named
from layered_backend.identity import identity_of
from tests.shop import Base, Country, Document, Item, Stock

SQLITE = dialect_named("sqlite").values
POSTGRESQL = dialect_named("postgresql").values
MARIADB = dialect_named("mariadb").values
SQLITE_ENGINE: Dialect = sqlite.dialect()
POSTGRESQL_ENGINE: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # is not annotated


class Color(enum.Enum):
    RED = "red"


class Paint(Base):
    __tablename__ = "paints"

    color: Mapped[Color] = mapped_column(Enum(Color), primary_key=True)


def _identity(model: type[Any], key: object) -> tuple[Any, ...] | None:
    return identity_of(inspect(model), key, SQLITE_ENGINE)


@given(st.integers(), st.text())
def test_a_tuple_and_a_mapping_name_the_same_row(code: int, warehouse: str) -> None:
    by_tuple = _identity(Stock, (warehouse, code))

    assert by_tuple == _identity(Stock, {"item_code": code, "warehouse": warehouse})
    assert by_tuple is None or by_tuple == (warehouse, code)


@given(st.integers())
def test_an_integer_is_a_key_exactly_where_the_column_holds_it(key: int) -> None:
    assert (_identity(Item, key) is not None) == (-(2**31) <= key < 2**31), "as on every database"
    assert POSTGRESQL.holds(Integer(), key) == (-(2**31) <= key < 2**31)
    assert POSTGRESQL.holds(BigInteger(), key) == (-(2**63) <= key < 2**63)
    assert POSTGRESQL.holds(SmallInteger(), key) == (-(2**15) <= key < 2**15)
    assert MARIADB.holds(BIGINT(), key) == (-(2**63) <= key < 2**63)
    assert MARIADB.holds(BIGINT(unsigned=True), key) == (0 <= key < 2**64)


@given(st.uuids())
def test_a_uuid_may_be_text(key: uuid.UUID) -> None:
    assert _identity(Document, key) == _identity(Document, str(key)) == (key,)


@pytest.mark.parametrize(("model", "key"), [(Item, None), (Stock, (None, 1)), (Stock, ("north", None))])
def test_no_row_has_none_in_its_key(model: type[Any], key: object) -> None:
    assert _identity(model, key) is None


def test_text_that_the_database_cannot_hold_is_no_key() -> None:
    assert _identity(Country, "\ud800") is None
    assert _identity(Country, "a\x00") is None
    assert not SQLITE.holds(String(), 7)


def test_types_with_a_check_of_their_own_are_left_to_it() -> None:
    assert _identity(Paint, Color.RED) == (Color.RED,)
    assert SQLITE.holds(DateTime(), "anything")
    assert SQLITE.holds(Uuid(), uuid.uuid4())
