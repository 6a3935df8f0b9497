from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import DateTime, ForeignKey, inspect
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, declared_attr, mapped_column
from sqlalchemy.schema import CreateTable

from layered_backend.models import ExactDecimal, IntegerPrimaryKey, UTCDateTime, Versioned, uuid7
from tests.shop import Item

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # is not annotated
MYSQL: Dialect = mysql.dialect()


def _ddl(dialect: Dialect) -> str:
    return str(CreateTable(Item.metadata.tables["items"]).compile(dialect=dialect))


def test_plain_annotations_have_columns_on_every_database() -> None:
    assert "VARCHAR(255)" in _ddl(MYSQL)
    assert "DATETIME(6)" in _ddl(MYSQL)
    assert "NUMERIC(38, 10)" in _ddl(MYSQL)
    assert "TIMESTAMP WITH TIME ZONE" in _ddl(POSTGRESQL)
    assert "name VARCHAR NOT NULL" in _ddl(POSTGRESQL)
    assert "price FLOAT" in _ddl(SQLITE)


def test_constraints_have_the_names_of_the_convention() -> None:
    ddl = _ddl(POSTGRESQL)

    for name in ("pk_items", "uq_items_name", "uq_items_shelf_position", "ck_items_price_not_negative"):
        assert f"CONSTRAINT {name} " in ddl
    assert "CONSTRAINT fk_items_category_id_categories FOREIGN KEY" in ddl
    assert "pk_items" not in _ddl(MYSQL), "which would warn that it ignores the name"


class TestUTCDateTime:
    @given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5)), timezone(timedelta(hours=-3))])))
    def test_a_moment_comes_back_as_itself_in_utc(self, moment: datetime) -> None:
        if not datetime.min.replace(tzinfo=UTC) + timedelta(days=1) < moment:
            return
        if not moment < datetime.max.replace(tzinfo=UTC) - timedelta(days=1):
            return
        stored = UTCDateTime().process_bind_param(moment, SQLITE)
        assert stored is not None

        came_back = UTCDateTime().process_result_value(stored.replace(tzinfo=None), SQLITE)

        assert came_back == moment
        assert came_back is not None
        assert came_back.tzinfo is UTC

    def test_a_naive_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"write datetime\.now\(UTC\)"):
            UTCDateTime().process_bind_param(datetime(2026, 1, 1), SQLITE)  # noqa: DTZ001  # what is tested

    def test_none_stays_none(self) -> None:
        assert UTCDateTime().process_bind_param(None, SQLITE) is None
        assert UTCDateTime().process_result_value(None, SQLITE) is None

    def test_another_zone_of_the_driver_becomes_utc(self) -> None:
        zone = timezone(timedelta(hours=2))

        assert UTCDateTime().process_result_value(datetime(2026, 1, 1, 2, tzinfo=zone), POSTGRESQL) == datetime(
            2026, 1, 1, tzinfo=UTC
        )

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_sqlite_gets_and_gives_the_text_that_sqlalchemy_writes(self, moment: datetime) -> None:
        ours, plain = UTCDateTime().dialect_impl(SQLITE), DateTime().dialect_impl(SQLITE)
        write, write_plainly, read = (
            ours.bind_processor(SQLITE),
            plain.bind_processor(SQLITE),
            ours.result_processor(SQLITE, None),
        )
        assert write is not None
        assert write_plainly is not None
        assert read is not None

        assert write(moment) == write_plainly(moment.replace(tzinfo=None))
        assert read(write(moment)) == moment
        assert write(None) is read(None) is None

    @pytest.mark.parametrize(
        "text", ["2026-01-02 03:04:05", "2026-01-02 05:04:05.000000+02:00", "2026-01-02 04:04:05.0+0100"]
    )
    def test_what_others_have_written_to_sqlite_is_read_too(self, text: str) -> None:
        read = UTCDateTime().dialect_impl(SQLITE).result_processor(SQLITE, None)
        assert read is not None

        assert read(text) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def test_a_subclass_has_its_say(self) -> None:
        class Minutes(UTCDateTime):
            cache_ok = True

            def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
                return super().process_bind_param(value and value.replace(second=0), dialect)

            def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
                return value and value.replace(second=1)

        own_type = Minutes().dialect_impl(SQLITE)
        write, read = own_type.bind_processor(SQLITE), own_type.result_processor(SQLITE, None)
        assert write is not None
        assert read is not None

        assert write(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:00.000000"
        assert read("2026-01-02 03:04:00.000000") == datetime(2026, 1, 2, 3, 4, 1)  # noqa: DTZ001  # as it was stored


class TestExactDecimal:
    @given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
    @pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL], ids=lambda dialect: dialect.name)
    def test_a_number_comes_back_as_itself_or_is_refused(self, dialect: Dialect, number: Decimal) -> None:
        try:
            stored = ExactDecimal().process_bind_param(number, dialect)
        except ValueError:
            return

        assert ExactDecimal().process_result_value(stored, dialect) == number

    @pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL], ids=lambda dialect: dialect.name)
    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400000", "1e100000000", "1e-100000000"])
    def test_what_no_column_holds_is_refused_before_it_is_written_out(self, dialect: Dialect, number: str) -> None:
        with pytest.raises(ValueError, match="does not fit"):
            ExactDecimal().process_bind_param(Decimal(number), dialect)

    def test_none_stays_none_and_other_numbers_become_decimals(self) -> None:
        assert ExactDecimal().process_bind_param(None, SQLITE) is None
        assert ExactDecimal().process_result_value(None, SQLITE) is None
        assert ExactDecimal().process_bind_param(0.1, POSTGRESQL) == Decimal("0.1")

    @given(
        st.decimals(allow_nan=True, allow_infinity=True)
        | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True)
    )
    @pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL], ids=lambda dialect: dialect.name)
    def test_a_short_number_is_one_that_fits(self, dialect: Dialect, number: Decimal | str) -> None:
        number = Decimal(number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("layered_backend.models._DecimalStorage._is_short", _never)
            expected = _is_accepted(number, dialect)

        assert _is_accepted(number, dialect) == expected

    def test_a_subclass_has_its_say(self) -> None:
        class Doubled(ExactDecimal):
            cache_ok = True

            def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
                number = super().process_result_value(value, dialect)
                return number and number * 2

        read = Doubled().dialect_impl(POSTGRESQL).result_processor(POSTGRESQL, 1700)
        assert read is not None

        assert read(Decimal(2)) == 4

    def test_padding_is_taken_off(self) -> None:
        assert str(ExactDecimal().process_result_value(Decimal("300.5000000000"), MYSQL)) == "300.5"
        assert str(ExactDecimal().process_result_value(Decimal("300.0000000000"), MYSQL)) == "300"


def _never(*_: object) -> bool:
    return False


def _is_accepted(number: Decimal, dialect: Dialect) -> bool:
    try:
        ExactDecimal().process_bind_param(number, dialect)
    except ValueError:
        return False
    return True


class TestUUID7:
    def test_it_has_the_version_and_variant_of_the_rfc(self) -> None:
        key = uuid7()

        assert (key.version, key.variant) == (7, "specified in RFC 4122")

    def test_it_holds_the_time_and_sorts_by_it(self) -> None:
        before = time.time_ns() // 1_000_000
        keys = [uuid7() for _ in range(100)]
        after = time.time_ns() // 1_000_000

        assert all(before <= key.int >> 80 <= after for key in keys)
        assert len(set(keys)) == 100


class VersionedBase(DeclarativeBase):
    pass


ARGUMENTS: dict[str, Any] = {"confirm_deleted_rows": False}


class GivesArguments:
    __mapper_args__ = ARGUMENTS


class ByDictionary(IntegerPrimaryKey, Versioned, VersionedBase):
    __tablename__ = "by_dictionary"
    __mapper_args__ = ARGUMENTS


class ByFunction(IntegerPrimaryKey, Versioned, VersionedBase):
    __tablename__ = "by_function"

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  # SQLAlchemy passes the class
        return ARGUMENTS


class ByMixin(IntegerPrimaryKey, GivesArguments, Versioned, VersionedBase):
    __tablename__ = "by_mixin"


class GivesAll(Versioned, VersionedBase):
    __abstract__ = True
    __mapper_args__ = ARGUMENTS


class ByAbstractClass(IntegerPrimaryKey, GivesAll):
    __tablename__ = "by_abstract_class"


class Root(IntegerPrimaryKey, Versioned, VersionedBase):
    __tablename__ = "roots"
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "root"}  # noqa: RUF012


class Leaf(Root):
    __tablename__ = "leaves"
    id: Mapped[int] = mapped_column(ForeignKey("roots.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "leaf"}  # noqa: RUF012


class TestVersioned:
    """The version of a class that has mapper arguments of its own."""

    @staticmethod
    def _mapper(model: type[Any]) -> Mapper[Any]:
        mapper: Mapper[Any] = inspect(model)
        mapper.registry.configure()
        return mapper

    @pytest.mark.parametrize("model", [ByDictionary, ByFunction, ByMixin, ByAbstractClass])
    def test_it_is_kept_beside_mapper_arguments_of_every_kind(self, model: type[Any]) -> None:
        mapper = self._mapper(model)

        assert mapper.version_id_col is mapper.columns["version"]
        assert mapper.confirm_deleted_rows is False

    def test_a_hierarchy_counts_in_the_table_of_its_root(self) -> None:
        assert self._mapper(Leaf).version_id_col is self._mapper(Root).version_id_col is Root.__table__.c.version

    @pytest.mark.parametrize(
        "arguments", [{"version_id_col": "other"}, {"version_id_generator": False}], ids=["another", "no counting"]
    )
    def test_one_that_nothing_would_count_is_refused(self, arguments: dict[str, Any]) -> None:
        class OwnBase(DeclarativeBase):
            pass

        class Note(IntegerPrimaryKey, Versioned, OwnBase):
            __tablename__ = "notes"
            other: Mapped[int]
            __mapper_args__ = arguments

        with pytest.raises(TypeError, match="Note is Versioned"):
            self._mapper(Note)

    def test_one_that_comes_behind_the_base_class_is_refused(self) -> None:
        class OwnBase(DeclarativeBase):
            pass

        class Note(OwnBase, IntegerPrimaryKey, Versioned):
            __tablename__ = "notes"

        with pytest.raises(TypeError, match="name Versioned before the base class"):
            self._mapper(Note)
