"""Rows that are shipped with explicit keys: the key that the database counts up next is greater, whatever counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from layered_backend import Database, SeedDataError, Seeder, ref
from tests.databases import backends_of
from tests.seeding.catalogue import Catalogue, shipping
from tests.seeding.counted import (
    Base,
    Bill,
    Car,
    Circle,
    Coupon,
    Entry,
    Essay,
    Line,
    Numbered,
    Optional,
    Review,
    Shape,
    Standard,
    Step,
    Strict,
    Ticket,
    Truck,
    Vehicle,
    Voucher,
)

COUNTING = backends_of("postgresql", "mariadb")


KEYED: list[tuple[Any, str]] = [
    (Entry, "id"), (Essay, "id"), (Review, "id"), (Vehicle, "id"), (Car, "id"), (Truck, "id"), (Shape, "id"), (Circle, "id"),
    (Standard, "id"), (Ticket, "id"), (Optional, "id"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "name"), KEYED, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_key_that_was_shipped_is_not_given_out_again(catalogue: Catalogue, model: Any, name: str) -> None:
    seeder = shipping(model, model.name, rows=[{name: 7, "name": "a"}, {name: 2, "name": "b"}])
    await catalogue.seed_well(seeder)

    await catalogue.add(*(model(name=f"new {number}") for number in range(10)))

    keys = {key: each for each, key in await catalogue.rows(getattr(model, name), model.name)}
    assert (keys["a"], keys["b"]) == (7, 2)
    assert min(key for each, key in keys.items() if each.startswith("new")) > 7
    assert (await catalogue.seed_well(seeder))["Shipped"].unchanged == 2


async def test_the_counter_of_the_base_serves_all_its_subclasses(catalogue: Catalogue) -> None:
    await catalogue.seed_well(shipping(Review, Review.name, rows=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]))

    await catalogue.add(Entry(name="entry"), Essay(name="essay"), Review(name="review"))

    assert len(await catalogue.rows(Entry.id)) == 5


@pytest.mark.parametrize("model", [Entry, Essay, Vehicle, Standard, Ticket], ids=lambda model: model.__name__)
async def test_a_key_may_be_given_to_some_rows_only(catalogue: Catalogue, model: Any) -> None:
    rows = [{"name": "a"}, {"id": 1, "name": "b"}, {"name": "c"}, {"id": 3, "name": "d"}, {"id": None, "name": "e"}]
    seeder = shipping(model, model.name, rows=rows)

    assert (await catalogue.seed_well(seeder))["Shipped"].inserted == 5
    await catalogue.add(*(model(name=f"new {number}") for number in range(5)))

    ids = dict(await catalogue.rows(model.name, model.id))
    assert (ids["b"], ids["d"], len(set(ids.values()))) == (1, 3, 10)


async def test_a_key_may_be_no_number_in_python(catalogue: Catalogue) -> None:
    await catalogue.seed_well(shipping(Numbered, Numbered.name, rows=[{"id": "no. 3", "name": "a"}]))

    await catalogue.add(*(Numbered(name=f"new {number}") for number in range(5)))

    assert len(await catalogue.rows(Numbered.id)) == 6


@pytest.mark.parametrize("model", [Entry, Essay, Review], ids=lambda model: model.__name__)
async def test_retired_rows_of_a_hierarchy_go_with_all_their_tables(catalogue: Catalogue, model: Any) -> None:
    """Those that refer to others of them go first, though the reference is in the table of the base."""
    await catalogue.add(Review(id=1, name="a"))
    await catalogue.add(Review(id=2, name="b", previous_id=1), Essay(id=3, name="c"))

    report = await catalogue.seed_well(shipping(model, model.name, rows=[], retired=("a", "b")))

    assert report["Shipped"].deleted == 2
    assert await catalogue.rows(Entry.name) == [("c",)]
    assert await catalogue.rows(Review.name) == []


async def test_a_row_of_a_hierarchy_may_refer_to_another_one(catalogue: Catalogue) -> None:
    class EssaySeeder(Seeder[Essay]):
        key = (Essay.name,)

        def rows(self) -> list[dict[str, Any]]:
            return [{"name": "b", "previous_id": ref(EssaySeeder, "a")}, {"name": "a"}]

    assert (await catalogue.seed_well(EssaySeeder))["EssaySeeder"].inserted == 2
    assert (await catalogue.seed_well(EssaySeeder))["EssaySeeder"].unchanged == 2
    ids = dict(await catalogue.rows(Essay.name, Essay.id))
    assert dict(await catalogue.rows(Essay.name, Essay.previous_id)) == {"a": None, "b": ids["a"]}


@pytest.mark.parametrize(("model", "other"), [(Review, Essay), (Essay, Entry), (Car, Truck), (Car, Vehicle)])
async def test_a_row_of_another_class_is_no_row_of_the_seeder(catalogue: Catalogue, model: Any, other: Any) -> None:
    """Though it has the same key, in the same table."""
    await catalogue.add(other(name="a"))

    assert (await catalogue.seed_well(shipping(model, model.name, rows=[{"name": "a"}])))["Shipped"].inserted == 1
    assert len(await catalogue.rows(model.name)) == 1


@pytest.mark.parametrize("catalogue", COUNTING, indirect=True, ids=str)
class TestSequences:
    async def test_two_tables_may_share_one(self, catalogue: Catalogue) -> None:
        await catalogue.seed_well(shipping(Ticket, Ticket.name, rows=[{"id": 9, "name": "a"}]))

        await catalogue.add(Voucher(name="a"), Ticket(name="b"))

        assert [min(await catalogue.rows(model.id))[0] for model in (Voucher, Ticket)] != [9, 9]
        assert min(await catalogue.rows(Voucher.id))[0] > 9

    async def test_a_column_that_is_no_key_is_counted_up_too(self, catalogue: Catalogue) -> None:
        await catalogue.seed_well(shipping(Step, Step.code, rows=[{"code": "a", "name": "a", "number": 25}]))

        await catalogue.add(*(Step(code=f"new {number}", name="new") for number in range(3)))

        assert min(number for number, name in await catalogue.rows(Step.number, Step.name) if name == "new") > 25

    async def test_the_server_may_draw_the_numbers(self, catalogue: Catalogue) -> None:
        rows = [{"id": 9, "name": "a", "rank": 99}, {"name": "b"}]
        await catalogue.seed_well(shipping(Coupon, Coupon.name, rows=rows))

        await catalogue.add(*(Coupon(name=f"new {number}") for number in range(3)))

        assert sorted(await catalogue.rows(Coupon.rank)) == [(0,)] * 4 + [(99,)]
        assert min(key for key, name in await catalogue.rows(Coupon.id, Coupon.name) if name != "a") > 9

    async def test_one_column_of_a_key_may_be_counted_up(self, catalogue: Catalogue) -> None:
        rows = [{"order_id": 1, "number": number, "name": f"{number}"} for number in (1, 2)]
        await catalogue.seed_well(shipping(Line, Line.order_id, Line.name, rows=rows))

        await catalogue.add(Line(order_id=1, name="new"))

        assert sorted(await catalogue.rows(Line.number)) == [(1,), (2,), (3,)]

    async def test_the_tables_may_be_in_the_schema_of_a_tenant(self, catalogue: Catalogue) -> None:
        name = f"tenant {catalogue.backend.driver}"
        options = {"schema_translate_map": {None: name}}
        with _schema(catalogue, name) as make:
            make()
            async with Database(catalogue.database.url, execution_options=options) as database:
                tenant = Catalogue(catalogue.backend, database)
                for model in (Essay, Shape, Ticket):
                    seeder = shipping(model, model.name, rows=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
                    await tenant.seed_well(seeder)
                    await tenant.add(model(name="new"))

                    assert max(await tenant.rows(model.id))[0] > 2
                    assert (await tenant.seed_well(seeder))["Shipped"].unchanged == 2
        assert await catalogue.rows(Essay.id) == []


class _schema:  # noqa: N801  # a block
    """A schema, or on MariaDB a database, with the tables, for the time of a block."""

    def __init__(self, catalogue: Catalogue, name: str) -> None:
        self._engine = sqlalchemy.create_engine(catalogue.database.sync_url)
        self._name = self._engine.dialect.identifier_preparer.quote_identifier(name)
        self._translated = self._engine.execution_options(schema_translate_map={None: name})
        self._cascade = " CASCADE" if self._engine.name == "postgresql" else ""

    def __enter__(self) -> Callable[[], None]:
        with self._engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {self._name}"))
        return lambda: Base.metadata.create_all(self._translated)

    def __exit__(self, *error: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {self._name}{self._cascade}"))
        self._engine.dispose()


@pytest.mark.parametrize("catalogue", backends_of("postgresql"), indirect=True, ids=str)
class TestPostgreSQL:
    async def test_a_sequence_that_only_the_database_knows_of(self, catalogue: Catalogue) -> None:
        engine = sqlalchemy.create_engine(catalogue.database.sync_url)
        with engine.begin() as connection:
            connection.execute(text("CREATE SEQUENCE bill_numbers"))
            connection.execute(text("ALTER TABLE bills ALTER number SET DEFAULT nextval('bill_numbers')"))
        try:
            await catalogue.seed_well(shipping(Bill, Bill.name, rows=[{"name": "a", "number": 3}]))
            await catalogue.add(*(Bill(name="new") for _ in range(5)))
            assert len(await catalogue.rows(Bill.number)) == 6
        finally:
            with engine.begin() as connection:
                connection.execute(text("DROP SEQUENCE bill_numbers CASCADE"))
            engine.dispose()

    async def test_a_key_that_the_database_always_counts_up_is_refused(self, catalogue: Catalogue) -> None:
        rows = [{"name": "a"}, {"id": 5, "name": "b"}]

        report = await catalogue.seed(shipping(Strict, Strict.name, rows=rows))

        error = report["Shipped"].error
        assert isinstance(error, SeedDataError)
        assert (error.row, error.column) == (2, "id")
        assert "leave it out, or write Identity(always=False)" in str(error)
        assert await catalogue.rows(Strict.id) == []

    async def test_without_the_key_such_a_table_is_seeded(self, catalogue: Catalogue) -> None:
        seeder = shipping(Strict, Strict.name, rows=[{"name": "a"}, {"name": "b", "id": None}])

        assert (await catalogue.seed_well(seeder))["Shipped"].inserted == 2
        assert (await catalogue.seed_well(seeder))["Shipped"].unchanged == 2
