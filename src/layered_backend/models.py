"""The declarative base and the mixins that most models want.

`Base` makes models portable as they are written: `Mapped[str]` without a length (and compared letter by letter),
`Mapped[Decimal]` and `Mapped[datetime]` mean the same on every database. `BaseRepository` works with any other mapped class as well.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from inspect import getattr_static as inspect_static
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sqlalchemy import (
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Uuid,
    event,
    inspect,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from layered_backend.columns import AWARE_MOMENT, DECIMAL, ColumnKind
from layered_backend.stamps import LONGEST_NAME, creation_of_row, creator_of_row, current_actor, moment_of_transaction

__all__ = [
    "Audited",
    "Base",
    "ExactDecimal",
    "IntegerPrimaryKey",
    "SoftDeletable",
    "Timestamped",
    "UTCDateTime",
    "UUIDPrimaryKey",
    "Versioned",
    "uuid7",
]

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


@compiles(PrimaryKeyConstraint, "mysql", "mariadb")
def _without_name(constraint: PrimaryKeyConstraint, compiler: Any, **options: Any) -> str:
    """Leave out the name of a primary key, which the server would ignore, with a warning for each table."""
    ddl: str = compiler.visit_primary_key_constraint(constraint, **options)
    return re.sub(r"^CONSTRAINT .+? (?=PRIMARY KEY)", "", ddl)  # a quoted name may have blanks


class _Processor(Protocol):
    """From a value to what the driver takes, or from what the driver gives to a value."""

    def __call__(self, value: Any) -> Any: ...


class UTCDateTime(TypeDecorator[datetime]):
    """A moment: aware on the Python side, always in UTC, to the microsecond.

    A naive datetime is refused, because nothing says which moment it means.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True
    column_kind: ClassVar[ColumnKind] = AWARE_MOMENT

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        portable = DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
        return dialect.type_descriptor(portable)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
            raise TypeError("a moment is a datetime")
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone is not a moment; write datetime.now(UTC)")
        return value if value.tzinfo is UTC else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return _in_utc(value)

    # The base class would go through three functions for each value, and SQLite's own type writes ten times as slowly.

    def bind_processor(self, dialect: Dialect) -> _Processor | None:
        if not isinstance(self.impl_instance, sqlite.DATETIME):
            return super().bind_processor(dialect)
        return lambda value: _written_out(self.process_bind_param(value, dialect))

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor | None:
        if type(self).process_result_value is not UTCDateTime.process_result_value:
            return super().result_processor(dialect, coltype)
        read = self.impl_instance.result_processor(dialect, coltype)
        return _in_utc if read is None else _reading_in_utc(read)


_WRITTEN_LENGTH = len("2026-01-02 03:04:05.000006")


def _written_out(moment: datetime | None) -> str | None:
    """Return a moment in UTC as SQLAlchemy writes it for SQLite."""
    return None if moment is None else moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def _reading_in_utc(read: _Processor) -> _Processor:
    """Return what reads what `_written_out` wrote, and leaves other texts to *read*."""

    def read_in_utc(value: str | None) -> datetime | None:
        if value is not None and len(value) == _WRITTEN_LENGTH:
            try:
                return datetime.fromisoformat(f"{value}+00:00")
            except ValueError:  # somebody else has written it
                pass
        return _in_utc(read(value))

    return read_in_utc


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None or value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal number that comes back as it was stored.

    PostgreSQL keeps any number of digits, MariaDB 38 with 10 of them behind the point, SQLite 15 altogether. A number
    with more than that, and one that is not finite, is refused, never rounded. Give `Numeric(10, 2)` to a column to fix
    its scale instead.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Numeric
    cache_ok: bool | None = True
    column_kind: ClassVar[ColumnKind] = DECIMAL

    storage: ClassVar[Numeric[Any]] = (
        Numeric(38, 10).with_variant(Numeric(), "postgresql").with_variant(Float(), "sqlite")
    )
    """The type of the column, with a variant for each database that keeps more, or other, digits."""

    @classmethod
    def store_as(cls, column_type: Numeric[Any] | Float[Any], *dialects: str) -> None:
        """Have databases with one of these names store exact decimals in columns of *column_type*.

        A `Float` keeps 15 digits, a `Numeric` as many as it says, and one without a precision 16,383 before the point and
        behind it.
        """
        cls.storage = cls.storage.with_variant(column_type, *dialects)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(self.storage)

    def process_bind_param(self, value: Decimal | float | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        number = value if isinstance(value, Decimal) else Decimal(str(value))
        storage = _decimal_storage(dialect)
        storage.check(number)
        return float(number) if isinstance(storage.type, Float) else number

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        exact: Decimal | None = _exact_reader(dialect)(value)
        return exact

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor | None:
        if type(self).process_result_value is not ExactDecimal.process_result_value:
            return super().result_processor(dialect, coltype)
        exact = _exact_reader(dialect)
        read = self.impl_instance.result_processor(dialect, coltype)
        return exact if read is None else lambda value: exact(read(value))


def _exact_reader(dialect: Dialect) -> _Processor:
    return _exact if _decimal_storage(dialect).type.scale is None else _exact_without_padding


def _exact(value: object) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    return Decimal(f"{value:.{_DOUBLE_DIGITS}g}")


def _exact_without_padding(value: object) -> Decimal | None:
    number = _exact(value)
    return None if number is None else _without_padding(number)


@dataclass(frozen=True)
class _DecimalStorage:
    """The limits of one database for a decimal number.

    Attributes:
        type: The column's type.
        magnitude: The largest power of ten that a number may reach, up and down.
        digits: How many digits count at most.
    """

    type: Numeric[Any] | Float[Any]
    magnitude: int
    digits: int

    def check(self, number: Decimal) -> None:
        """Raise ValueError for a number that would not come back as itself."""
        if self._is_short(number):
            return
        # The magnitude comes first: 1e100000000 has one digit that counts, and a hundred million to write out.
        if not number.is_finite() or (number and abs(number.adjusted()) > self.magnitude):
            raise ValueError("a decimal that is not finite, or too large or too small, does not fit")
        digits, places = _digits_and_places(number)
        if digits > self.digits:
            raise ValueError(f"a decimal with more than {self.digits} digits does not fit")
        if self.type.scale is not None and places > self.type.scale:
            raise ValueError(f"a decimal with more than {self.type.scale} digits behind the point does not fit")

    def _is_short(self, number: Decimal) -> bool:
        """Tell whether *number* has few enough characters, whatever they are, as most numbers have."""
        text = str(number)
        if len(text) > min(self.digits, self.magnitude) or "E" in text or not number.is_finite():
            return False
        _, point, places = text.partition(".")
        return self.type.scale is None or not point or len(places) <= self.type.scale


_DOUBLE_DIGITS = 15  # that a binary double keeps of any decimal number
_DOUBLE_MAGNITUDE = 300
_UNLIMITED = 16_383  # digits that PostgreSQL keeps behind the point, and more before it


def _decimal_storage(dialect: Dialect) -> _DecimalStorage:
    return _storage_of(ExactDecimal.storage.dialect_impl(dialect))


@lru_cache(maxsize=100)  # types of columns, one for each engine
def _storage_of(column_type: TypeEngine[Any]) -> _DecimalStorage:
    if isinstance(column_type, Float):
        return _DecimalStorage(column_type, magnitude=_DOUBLE_MAGNITUDE, digits=_DOUBLE_DIGITS)
    assert isinstance(column_type, Numeric)
    if column_type.precision is None:
        return _DecimalStorage(column_type, magnitude=_UNLIMITED, digits=_UNLIMITED)
    before_point = column_type.precision - (column_type.scale or 0)
    return _DecimalStorage(column_type, magnitude=before_point - 1, digits=column_type.precision)


# Decimal's own arithmetic rounds to 28 digits, so these look at the digits as they are written.


def _digits_and_places(number: Decimal) -> tuple[int, int]:
    """Return how many digits count, and how many of them stand behind the point."""
    _, digits, exponent = number.as_tuple()
    counting = "".join(map(str, digits)).rstrip("0")
    last = int(exponent) + len(digits) - len(counting)
    return len(counting.lstrip("0")), max(0, -last) if counting else 0


def _without_padding(number: Decimal) -> Decimal:
    text = f"{number:f}"
    return Decimal(text.rstrip("0").rstrip(".")) if "." in text else number


def uuid7() -> uuid.UUID:
    """Return a new UUID of version 7: 48 bits of milliseconds since 1970, then 74 random bits (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    high, low = random >> 62, random & (1 << 62) - 1
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


class Base(DeclarativeBase):
    """The declarative base: constraints have predictable names, and plain annotations portable column types."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[Mapping[Any, TypeEngine[Any] | type[TypeEngine[Any]]]] = {
        str: String()
        .with_variant(String(255, collation="utf8mb4_nopad_bin"), "mariadb")
        .with_variant(String(255, collation="utf8mb4_bin"), "mysql"),
        datetime: UTCDateTime(),
        Decimal: ExactDecimal(),
    }
    # What the database computes on UPDATE is read back at once: expired columns cannot be loaded lazily under asyncio.
    __mapper_args__: Any = {"eager_defaults": True}  # noqa: RUF012  # declared so by SQLAlchemy


_NAME = (
    String(LONGEST_NAME)
    .with_variant(String(LONGEST_NAME, collation="utf8mb4_nopad_bin"), "mariadb")
    .with_variant(String(LONGEST_NAME, collation="utf8mb4_bin"), "mysql")
)


# The mixins are for every kind of mapped class. SQLAlchemy takes an annotation of a mixin for a field of a dataclass, and
# refuses it there, so that only type checkers see them.


def _integer(model: Any) -> Any:
    """Return the column type of whole numbers that the base class of *model* declares."""
    declared: Mapping[Any, Any] = getattr(getattr(model, "registry", None), "type_annotation_map", {})
    return declared.get(int, Integer)


class IntegerPrimaryKey:
    """An `id` that the database counts up."""

    if TYPE_CHECKING:
        id: Mapped[int]
    else:
        id = declared_attr(lambda cls: mapped_column(_integer(cls), primary_key=True, sort_order=-10))


class UUIDPrimaryKey:
    """An `id` that is known before the row is written, and that sorts by time of creation (a UUID of version 7)."""

    if TYPE_CHECKING:
        id: Mapped[uuid.UUID]
    else:
        id = mapped_column(Uuid, primary_key=True, insert_default=uuid7, sort_order=-10)


class Timestamped:
    """When the row was created and last updated, in UTC; the two are equal until the first update.

    The moment is that of the first such write of the transaction, for all of its rows.
    """

    if TYPE_CHECKING:
        created_at: Mapped[datetime]
        updated_at: Mapped[datetime]
    else:
        created_at = mapped_column(UTCDateTime, insert_default=moment_of_transaction, nullable=False, sort_order=10)
        updated_at = mapped_column(
            UTCDateTime,
            insert_default=creation_of_row,
            onupdate=moment_of_transaction,
            nullable=False,
            sort_order=11,
        )


class Audited:
    """The names of the actors that created the row and last updated it; they are equal until the first update.

    The name is that of the actor of the unit of work (`actor_name`), for every way to write a row. After a write without
    an actor, such as by a seeder, `updated_by` is NULL.
    """

    if TYPE_CHECKING:
        created_by: Mapped[str | None]
        updated_by: Mapped[str | None]
    else:
        created_by = mapped_column(_NAME, insert_default=current_actor, sort_order=14)
        updated_by = mapped_column(_NAME, insert_default=creator_of_row, onupdate=current_actor, sort_order=15)


class SoftDeletable:
    """When the row was deleted, in UTC, None while it is not: `delete` marks it, and `restore` takes that back.

    Declare the scope that keeps deleted rows out of sight:

        scopes = (Scope(SoftDeletable, lambda cls: cls.deleted_at.is_(None), name="soft_delete"),)
    """

    if TYPE_CHECKING:
        deleted_at: Mapped[datetime | None]
    else:
        deleted_at = mapped_column(UTCDateTime, sort_order=12)


class Versioned:
    """The version of the row, which counts its writes (Fowler, PoEAA: Optimistic Offline Lock).

    An update of a row that somebody else has changed since it was read is a StaleError. So is one whose data has the
    `version` that was read, and another is stored.
    """

    if TYPE_CHECKING:
        version: Mapped[int]
        __mapper_args__: Any
    else:
        version = declared_attr(
            lambda cls: mapped_column(_integer(cls), insert_default=1, nullable=False, sort_order=13)
        )

    def __init_subclass__(cls, **options: Any) -> None:
        """Add the version to mapper arguments of the class's own, or of another mixin, which would hide it otherwise."""
        if not any(
            issubclass(base, Versioned) for base in _mapped_bases(cls)
        ):  # a subclass inherits the version's column
            cls.__mapper_args__ = _with_version(inspect_static(cls, "__mapper_args__", None))
        super().__init_subclass__(**options)


def _with_version(given: Any) -> Any:
    """Return mapper arguments, as a class has them, with the column of the version."""

    def mapper_arguments(model: Any) -> dict[str, Any]:
        evaluated = given.__get__(None, model) if hasattr(given, "__get__") else given
        return {"version_id_col": model.version, **(evaluated or {})}

    return declared_attr.directive(mapper_arguments)


def _mapped_bases(model: type[Any]) -> list[type[Any]]:
    return [base for base in model.__mro__[1:] if inspect(base, raiseerr=False) is not None]


@event.listens_for(Mapper, "mapper_configured")
def _refuse_uncounted(mapper: Mapper[Any], model: type[Any]) -> None:
    """Refuse a Versioned class whose version would not change with each write.

    Raises:
        TypeError: The mapper has another version, or none, or one that nothing counts.
    """
    if not issubclass(model, Versioned):
        return
    column: Any = mapper.version_id_col
    own = mapper.column_attrs["version"].columns if "version" in mapper.column_attrs else ()
    if column is None or column not in own or column.table not in mapper.tables:
        raise TypeError(
            f"{model.__name__} is Versioned, but its mapper does not count `version`; name Versioned before the base class, "
            "and leave version_id_col out of __mapper_args__"
        )
    if mapper.version_id_generator is False and column.server_onupdate is None:
        raise TypeError(
            f"{model.__name__} is Versioned, but neither its mapper nor the database counts `version`; leave "
            "version_id_generator out of __mapper_args__, or give the column a server_onupdate"
        )
