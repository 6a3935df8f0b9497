"""A table with a column of every type that a database may give back as less than it stores, or as another thing."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    REAL,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Time,
    TypeDecorator,
    Uuid,
    literal_column,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine

from layered_backend import Base as LibraryBase
from layered_backend.models import ExactDecimal, UTCDateTime

__all__ = ["OWN_SAMPLES", "SAMPLES", "Base", "Color", "Sample"]


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class Color(enum.Enum):
    """Declared in another order than that of its names, and of its values."""

    ZINC = "b"
    AMBER = "c"
    MAUVE = "a"


class Rounded(TypeDecorator[int]):
    """Gives back less than it stores."""

    impl = Integer
    cache_ok = True

    def process_result_value(self, value: int | None, dialect: Any) -> int | None:
        return None if value is None else value // 100


class Blank(TypeDecorator[str]):
    """Gives back a value for NULL."""

    impl = String(20)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str:
        return value or ""


CASELESS = (
    String(20)
    .with_variant(String(20, collation="NOCASE"), "sqlite")
    .with_variant(String(20, collation="utf8mb4_general_ci"), "mysql", "mariadb")
    .with_variant(String(20, collation="caseless"), "postgresql")
)
"""Text that is equal to other text. On PostgreSQL, CASELESS_COLLATION comes first."""

NEAR = [16_777_216.0, 16_777_215.0, 16_777_214.0, 0.1, 0.10000000894069672, 0.2, -0.0, 0.0, 3e38, 1e-37]
NEARER = [*NEAR, 0.30000000000000004, 0.3, 0.1000000000000000055, 1 / 3, 0.33333333333333337, 1e300]
DIGITS = [Decimal("0.1"), Decimal("0.1000000000001"), Decimal("0.1000000000002"), Decimal(-1), Decimal(12345)]
MANY_DIGITS = [Decimal("1234567890.123456789012345"), Decimal("1234567890.123456789012346"), *DIGITS]

NOON = datetime(2024, 1, 1, 12)  # noqa: DTZ001  # for columns without a time zone

SAMPLES: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "real": (REAL(), NEAR),
    "single": (Float(24), NEAR),
    "double": (Double(), NEARER),
    "double_as_decimal": (Float(53, asdecimal=True), NEARER),
    "numeric": (Numeric(30, 15), DIGITS),
    "numeric_as_float": (Numeric(30, 15, asdecimal=False), MANY_DIGITS),
    "exact": (ExactDecimal(), [Decimal("0.1"), Decimal("0.5"), literal_column("0.1 + 0.2"), Decimal("0.3")]),
    "color": (Enum(Color, name="sample_color"), list(Color)),
    "color_as_text": (Enum(Color, native_enum=False, length=10), list(Color)),
    "word": (Enum("z", "m", "a", name="sample_word"), ["z", "m", "a"]),
    "span": (Interval(), [timedelta(days=1), timedelta(hours=24, microseconds=1), timedelta(-1), timedelta(0)]),
    "char": (CHAR(5), ["a", "a ", "a\t", "ab", "a b", "B"]),
    "caseless": (CASELESS, ["a", "A", "b", "B", "ab", "Ab"]),
    "padded": (String(20), ["a", "a ", "a\t", "A", "b", "é", "e"]),
    "day": (Date(), [date(2024, 2, 29), date(1999, 1, 1), date(1, 1, 1), date(9999, 12, 31)]),
    "moment": (DateTime(), [NOON + timedelta(microseconds=part) for part in (0, 1, 500_000)]),
    "stamp": (DateTime(timezone=True), [datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1, 2)]),
    "utc": (UTCDateTime(), [datetime(2024, 10, 27, 1, 30, 0, part, tzinfo=UTC) for part in (0, 1, 10)]),
    "clock": (Time(), [time(1), time(23, 59, 59), time(0)]),
    "flag": (Boolean(), [True, False]),
    "raw": (LargeBinary(20).with_variant(mysql.VARBINARY(20), "mariadb", "mysql"), [b"", b"a", b"a\x00", b"\xff"]),
    "key": (
        Uuid(),
        [
            uuid.UUID("80000000-0000-4000-8000-000000000001"),
            uuid.UUID("10000000-0000-4000-9000-000000000001"),
            uuid.UUID("10000000-0000-4001-8000-000000000001"),
        ],
    ),
    "rounded": (Rounded(), [101, 102, 150, 201, -1]),
    "blank": (Blank(), ["", "a", "b"]),
}


POSTGRESQL: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "double": (Double(), [*NEARER, float("nan"), float("inf"), float("-inf")]),
    "single": (REAL(), [*NEAR, float("nan"), float("inf")]),
    "numeric": (Numeric(), [*MANY_DIGITS, Decimal("NaN"), literal_column("'Infinity'::numeric"), Decimal("1e100")]),
    "span": (
        Interval(),
        [
            literal_column(f"INTERVAL '{text}'")
            for text in ("1 year", "360 days", "12 mons", "365 days", "1 mon", "30 days")
        ],
    ),
    "numbers": (ARRAY(REAL), [[0.1, 1.0], [0.10000000894069672], [], [2.0]]),
    "json": (postgresql.JSONB(), [{"a": 1}, {"a": 1.5}, [1, 2], "x", 1]),
    "network": (
        postgresql.INET(),
        [literal_column(f"'{text}'::inet") for text in ("10.0.0.1", "9.0.0.1", "10.0.0.0/8")],
    ),
    "stamp": (DateTime(timezone=True), [datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1, 2)]),
    "until": (
        Time(timezone=True),
        [literal_column(f"'{text}'::timetz") for text in ("10:00+00", "12:00+02", "11:00+00")],
    ),
    "colors": (ARRAY(Enum(Color, name="sample_color")), [[Color.MAUVE, Color.ZINC], [Color.AMBER], []]),
    "bits": (postgresql.BIT(4), [literal_column(f"B'{text}'") for text in ("0000", "1010", "0101")]),
    "span_of_numbers": (
        postgresql.INT4RANGE(),
        [literal_column(f"'{text}'::int4range") for text in ("[1,2]", "[1,9)", "empty")],
    ),
}
MARIADB: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "letters": (mysql.SET("z", "m", "a"), [{"a"}, {"z", "a"}, {"m"}, {"z"}]),
    "year": (Integer().with_variant(mysql.YEAR(), "mariadb"), [1999, 2024, 1901]),
    "bits": (Integer().with_variant(mysql.BIT(10), "mariadb"), [5, 6, 512, 0]),
    "large": (mysql.BIGINT(unsigned=True), [2**64 - 1, 2**63, 1]),
    "flag": (Boolean(), [literal_column("2"), True, False]),
    "double": (mysql.DOUBLE(), NEARER),
    "single": (mysql.FLOAT(), NEAR),
    "moment": (mysql.DATETIME(fsp=3), [NOON + timedelta(microseconds=part) for part in (0, 1_000, 2_000)]),
    "nopad": (String(5, collation="utf8mb4_nopad_bin"), ["a", "a ", "a\t", "A"]),
}
SQLITE: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "anything": (
        Numeric(),
        [literal_column(text) for text in ("1", "0.5", "9007199254740993", "9007199254740992", "1e300")],
    ),
    "moment": (
        DateTime(),
        [literal_column(f"'{text}'") for text in ("2024-01-01 00:00:00", "2024-01-01 00:00:00.000000")],
    ),
    "json": (JSON(), [{"a": 1}, [1, 2], "x", 1]),
    "flag": (Boolean(create_constraint=False), [literal_column("2"), True, False]),
}


def _mapped(name: str, columns: dict[str, tuple[TypeEngine[Any], list[Any]]]) -> type[Any]:
    """Return a class that is mapped to a table with *columns*, all of which may be NULL."""
    attributes = {column: mapped_column(column_type) for column, (column_type, _) in columns.items()}
    key = mapped_column(Integer, primary_key=True)
    return type(name, (Base,), {"__tablename__": f"samples_{name.lower()}", "id": key, **attributes})


Sample = _mapped("Common", SAMPLES)
OWN_SAMPLES: dict[str, tuple[type[Any], dict[str, tuple[TypeEngine[Any], list[Any]]]]] = {
    "postgresql": (_mapped("PostgreSQL", POSTGRESQL), POSTGRESQL),
    "mariadb": (_mapped("MariaDB", MARIADB), MARIADB),
    "sqlite": (_mapped("SQLite", SQLITE), SQLITE),
}
"""What one database alone has."""
