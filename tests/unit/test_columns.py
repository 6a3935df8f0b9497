from __future__ import annotations

import enum
import ipaddress
import json
import numbers
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, HttpUrl, Json, PostgresDsn, SecretBytes, SecretStr, field_serializer
from pydantic_core import to_jsonable_python
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from layered_backend.columns import AWARE_MOMENT, DECIMAL, is_same_value, kind_of
from layered_backend.models import ExactDecimal, UTCDateTime

JSON_TYPE = kind_of(JSON())


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


class Name(enum.StrEnum):
    TEA = "tea"


class Sealed(BaseModel):
    code: SecretStr
    raw: SecretBytes = SecretBytes(b"\x61")


class Shown(BaseModel):
    """Has a serializer of its own for its secret, which has the last word."""

    code: SecretStr

    @field_serializer("code", when_used="json")
    def dump(self, code: SecretStr) -> str:
        return code.get_secret_value()[:1]


class Nested(BaseModel):
    url: HttpUrl
    colors: set[Color]
    parts: dict[str, Sealed]
    pairs: list[tuple[int, Sealed]]
    at: datetime


@dataclass
class Frame:
    width: Decimal
    key: uuid.UUID


class Own(TypeDecorator[Any]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        return repr(value)


class Alias(TypeDecorator[Any]):
    """Only has another name."""

    impl = JSON
    cache_ok = True


class Point(UserDefinedType[Any]):
    cache_ok = True


class Vector(list[Any]):
    """Compared element by element, and neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return Vector(one == two for one, two in zip(self, _listed(other), strict=True))

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")

    __hash__ = None


def _listed(value: Any) -> Sequence[Any]:
    return list(value)


@pytest.mark.parametrize("column_type", [Own(), Point(), postgresql.INET(), mysql.SET("a", "b")], ids=repr)
@pytest.mark.parametrize("value", [Sealed(code=SecretStr("k")), {"a": 1}, Color.RED, SecretStr("k"), Vector([1.0])])
def test_a_type_of_its_own_gets_the_object_untouched(column_type: TypeEngine[Any], value: Any) -> None:
    assert kind_of(column_type).writing(value) is value


@pytest.mark.parametrize(
    ("column_type", "value", "written"),
    [
        (String(9), HttpUrl("https://example.org/a"), "https://example.org/a"),
        (String(), AnyUrl("ftp://example.org/"), "ftp://example.org/"),
        (Text(), PostgresDsn("postgresql://a@b/c"), "postgresql://a@b/c"),
        (String(), PurePosixPath("/a/b"), "/a/b"),
        (String(), ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (String(), ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (String(), uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (String(), Color.RED, "red"),
        (String(), Name.TEA, "tea"),
        (String(), SecretStr("k7"), "k7"),
        (LargeBinary(), SecretBytes(b"k7"), b"k7"),
        (Integer(), Size.LARGE, 3),
        (BigInteger(), Size.LARGE, 3),
        (Uuid(as_uuid=False), uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ARRAY(String), [HttpUrl("https://example.org/")], ["https://example.org/"]),
        (ARRAY(String), {Name.TEA}, ["tea"]),
        (ARRAY(JSON), [Frame(Decimal("1.5"), uuid.UUID(int=1))], [{"width": "1.5", "key": str(uuid.UUID(int=1))}]),
        (ARRAY(Integer, dimensions=2), [[Size.LARGE], [1]], [[3], [1]]),
        (Alias(), {"at": date(2024, 1, 2)}, {"at": "2024-01-02"}),
    ],
    ids=repr,
)
def test_what_has_one_form_is_written_in_it(column_type: TypeEngine[Any], value: Any, written: Any) -> None:
    result = kind_of(column_type).writing(value)

    assert (result, type(result)) == (written, type(written))


@pytest.mark.parametrize(
    ("column_type", "value"),
    [
        (Enum(Color), Color.RED),
        (Interval(), timedelta(1)),
        (DateTime(), datetime(2024, 1, 1)),  # noqa: DTZ001
        (Numeric(10, 2), 1.5),
        (String(), func.lower("A")),
        (JSON(), JSON.NULL),
        (Integer(), None),
        (Boolean(), True),
    ],
)
def test_what_a_column_takes_is_left_as_it_is(column_type: TypeEngine[Any], value: Any) -> None:
    assert kind_of(column_type).writing(value) is value


@pytest.mark.parametrize(
    "column_type", [String(), Integer(), Float(), DateTime(), Uuid(), Enum("a"), Boolean()], ids=repr
)
@pytest.mark.parametrize(
    "value", [{"a": 1}, [1], (1,), {1}, Sealed(code=SecretStr("k7")), Frame(Decimal(1), uuid.UUID(int=1))]
)
def test_several_values_are_refused_where_a_column_holds_one(column_type: TypeEngine[Any], value: Any) -> None:
    with pytest.raises(ValueError, match="takes a single value, not a ") as refused:
        kind_of(column_type).writing(value)
    assert "k7" not in str(refused.value)


class Int64:
    """An integer that is no `int`, as NumPy has them."""

    def __int__(self) -> int:
        return 3

    __index__ = __int__


class Float32:
    """A number that is no `float`, as NumPy has them."""

    def __float__(self) -> float:
        return 0.5


class Float64(float):
    """A kind of `float`, as NumPy has one."""


numbers.Integral.register(Int64)
numbers.Real.register(Float32)


NUMBERS: list[tuple[Any, Any, float]] = [
    (Integer(), Int64(), 3),
    (Double(), Float64(0.5), 0.5),
    (Float(), Float32(), 0.5),
    (Numeric(10, 2), Float64(0.5), 0.5),
    (Numeric(10, 2), Int64(), 3),
]


@pytest.mark.parametrize(
    ("column_type", "value", "written"),
    NUMBERS,
)
def test_numbers_of_other_libraries_are_written_as_pythons(column_type: Any, value: Any, written: float) -> None:
    result = kind_of(column_type).writing(value)

    assert (result, type(result)) == (written, type(written))


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text() | st.dates() | st.datetimes(timezones=st.just(UTC))
    | st.uuids() | st.decimals(allow_nan=False, allow_infinity=False) | st.timedeltas() | st.sampled_from([*Color, *Size])
    | st.builds(HttpUrl, st.just("https://example.org/")) | st.sets(st.integers(), max_size=2)
    | st.builds(Frame, st.decimals(0, 9), st.uuids())
)  # fmt: skip
_DATA = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner),
    max_leaves=8,
)


@given(_DATA)
def test_a_json_column_gets_what_pydantic_calls_json_whatever_is_nested(value: Any) -> None:
    written = kind_of(JSON()).writing({"value": value})

    assert written == {"value": to_jsonable_python(value, fallback=str)}
    assert is_same_value(json.loads(json.dumps(written)), written)


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_no_secret_is_masked_in_json_wherever_it_is(one: str, two: str, three: str) -> None:
    nested = Nested(
        url=HttpUrl("https://example.org/"),
        colors={Color.RED},
        parts={"a": Sealed(code=SecretStr(one))},
        pairs=[(1, Sealed(code=SecretStr(two)))],
        at=datetime(2024, 1, 2, tzinfo=UTC),
    )

    assert JSON_TYPE.writing({"models": [nested], "plain": (SecretStr(three),)}) == {
        "models": [
            {
                "url": "https://example.org/",
                "colors": ["red"],
                "parts": {"a": {"code": one, "raw": "a"}},
                "pairs": [[1, {"code": two, "raw": "a"}]],
                "at": "2024-01-02T00:00:00Z",
            }
        ],
        "plain": [three],
    }


def test_a_serializer_of_the_models_own_has_the_last_word() -> None:
    assert JSON_TYPE.writing(Shown(code=SecretStr("k7"))) == {"code": "k"}


class Keyed(BaseModel):
    names: dict[SecretStr, int]


class Gathered(BaseModel):
    codes: set[SecretStr]


@pytest.mark.parametrize(
    "value", [Keyed(names={SecretStr("k7"): 1}), Gathered(codes={SecretStr("k7")})], ids=["key", "member of a set"]
)
def test_a_secret_in_a_place_that_cannot_be_told_is_refused_and_not_masked(value: BaseModel) -> None:
    with pytest.raises(
        ValueError, match=r"would get asterisks for a secret; give it what get_secret_value\(\)"
    ) as refused:
        JSON_TYPE.writing(value)
    assert "k7" not in str(refused.value)


def test_a_value_without_a_form_in_json_is_refused() -> None:
    with pytest.raises(ValueError, match="takes JSON, and a part of the value has no form in it"):
        JSON_TYPE.writing({"a": object()})
    with pytest.raises(ValueError, match="takes JSON"):
        JSON_TYPE.writing(Sealed(code=SecretStr("a"), raw=SecretBytes(b"\xff")))


def test_a_field_of_pydantics_json_is_written_as_what_it_holds() -> None:
    class Loaded(BaseModel):
        data: Json[list[int]]

    assert JSON_TYPE.writing(Loaded.model_validate({"data": "[1]"}).data) == [1]


def test_the_types_of_this_library_have_a_kind_and_those_derived_from_them() -> None:
    class Later(UTCDateTime):
        cache_ok = True

    class Wrapped(TypeDecorator[Any]):
        impl = UTCDateTime
        cache_ok = True

    assert kind_of(UTCDateTime()) is kind_of(Later()) is kind_of(DateTime(timezone=True)) is AWARE_MOMENT
    assert kind_of(ExactDecimal()) is kind_of(Numeric(10, 2)) is DECIMAL
    assert kind_of(Wrapped()) is not AWARE_MOMENT


class TestComparison:
    def test_an_array_is_the_same_if_all_its_items_are(self) -> None:
        assert is_same_value(Vector([1.0, 2.0]), Vector([1.0, 2.0]))
        assert not is_same_value(Vector([1.0, 2.0]), Vector([1.0, 3.0]))
        assert not is_same_value(Vector([1.0, 2.0]), Vector([1.0]))

    def test_a_table_is_the_same_if_all_its_rows_are(self) -> None:
        assert is_same_value(Vector([Vector([1.0]), Vector([2.0])]), Vector([Vector([1.0]), Vector([2.0])]))
        assert not is_same_value(Vector([Vector([1.0]), Vector([2.0])]), Vector([Vector([1.0]), Vector([3.0])]))

    @pytest.mark.parametrize(
        ("one", "other"),
        [(float("nan"), float("nan")), ([float("nan")], [float("nan")]), ((1, None), [1, None])],
        ids=repr,
    )
    def test_what_means_the_same_is_the_same(self, one: Any, other: Any) -> None:
        assert is_same_value(one, other)

    @given(_DATA, _DATA)
    def test_it_agrees_with_equality_where_that_has_a_truth_value(self, one: Any, other: Any) -> None:
        plain_one, plain_other = (to_jsonable_python(each, fallback=str) for each in (one, other))

        assert is_same_value(plain_one, plain_other) == (plain_one == plain_other)

    def test_json_tells_true_from_one_and_not_the_order_of_names(self) -> None:
        assert not JSON_TYPE.is_same({"a": True}, {"a": 1})
        assert JSON_TYPE.is_same({"a": 1, "b": 2}, {"b": 2.0, "a": 1})
