"""Many rows at once leave in the database what the same rows leave one by one, whatever is in them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import event, text, true
from sqlalchemy.exc import SQLAlchemyError

from layered_backend import InvalidDataError, LayeredError, RolledBackError, UniqueViolationError
from tests.databases import Shop, backends_of
from tests.samples import (
    LONG_AGO,
    Kind,
    Sample,
    Shout,
    Ticket,
    Token,
    alike_rows,
    mixed_rows,
    on_each_database,
    repository_of,
    stored,
    with_samples,
)
from tests.shop import Item, ShopUnitOfWork, add_item
from tests.statements import Statements

ODD: list[dict[str, Any]] = [
    {"local": datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=5)))},
    {"anywhere": datetime(2026, 1, 2, 3)},  # noqa: DTZ001  # which each driver takes for another moment
    {"day": datetime(2026, 1, 2, 3, tzinfo=UTC)},
    {"few": True},
    {"few": 2**15},
    {"place": 1.5},
    {"prose": 7},
    {"word": "x" * 41},
    {"word": "y" * 40 + "   "},
    {"word": "a\x00b"},
    {"country": "x" * 3},
    {"rounded": 0.125},
    {"rounded": Decimal("0.125")},
    {"rounded": 10**12},
    {"ratio": Decimal("0.1")},
    {"ratio": 2**60 + 1},
    {"single": 0.1},
    {"owner": "12345678-1234-4234-8234-123456789abc"},
    {"kind": "HOT"},
    {"is_open": 1},
    {"data": float("inf")},
]
"""Values that drivers take, or refuse, each in its own way."""

IMPOSSIBLE: list[dict[str, Any]] = [
    {"moment": datetime(2026, 1, 2)},  # noqa: DTZ001  # what is refused
    {"price": Decimal("NaN")},
    {"price": Decimal("1e20000")},
    {"place": 10**30},
    {"kind": 7},
    {"word": "\ud800"},
    {"owner": "nobody"},
    {"is_open": 7},
    {"data": {"a": object()}},
]


@pytest.fixture
async def mapped(shop: Shop) -> AsyncGenerator[Shop]:
    async for prepared in with_samples(shop):
        yield prepared


async def _written(uow: ShopUnitOfWork, values: dict[str, Any], *, at_once: bool) -> Any:
    """Return what is stored of two rows with those values, or the class of the error that refuses them."""
    samples = repository_of(uow, Sample)
    try:
        async with uow.savepoint():
            if at_once:
                await samples.create_many([{"place": place, **values} for place in (1, 2)])
            else:
                for place in (1, 2):
                    await samples.create({"place": place, **values})
    except (LayeredError, SQLAlchemyError) as error:
        return type(error)
    found = await stored(uow, Sample)
    await samples.delete_where(true())
    return found


class TestCreateMany:
    @on_each_database
    @given(alike_rows | mixed_rows)
    async def test_rows_of_a_batch_are_those_of_entities(self, mapped: Shop, rows: list[dict[str, Any]]) -> None:
        placed = [row | {"place": place} for place, row in enumerate(rows)]

        async def work(uow: ShopUnitOfWork) -> None:
            samples = repository_of(uow, Sample)
            await samples.create_many(placed)
            many = await stored(uow, Sample)
            await samples.delete_where(true())
            for row in placed:
                await samples.create(row)
            assert many == await stored(uow, Sample)
            await uow.rollback()

        await mapped.run(work)

    async def test_rows_that_are_alike_keep_their_order(self, mapped: Shop) -> None:
        rows: list[dict[str, Any]] = [{"place": place} | ({"prose": "odd"} if place % 2 else {}) for place in range(50)]
        rows.append({"place": 50, "created_at": LONG_AGO})

        async def work(uow: ShopUnitOfWork) -> Sequence[int]:
            await repository_of(uow, Sample).create_many(rows)
            return [sample.place for sample in await repository_of(uow, Sample).list()]

        assert await mapped.run(work) == list(range(51))

    async def test_rows_of_one_kind_are_one_statement(self, mapped: Shop) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        row = {
            "place": 1,
            "prose": 'a "b" \\ {c},',
            "price": Decimal("1.5"),
            "is_open": True,
            "moment": now,
            "kind": Kind.HOT,
        }

        async def work(uow: ShopUnitOfWork) -> None:
            await repository_of(uow, Sample).create_many([row, row | {"prose": None}, row | {"kind": None}])

        with Statements(mapped) as statements:
            await mapped.run(work)

        ((statement, size),) = statements.sent
        assert ("unnest" in statement, size) == ((True, 1) if mapped.backend.server == "postgresql" else (False, 3))

    async def test_defaults_differ_from_row_to_row(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> Sequence[Token]:
            tokens = repository_of(uow, Token)
            await tokens.create_many([{"name": "Tea"}, {"name": "Cocoa"}, {"name": "Milk", "slug": "cow"}])
            return await tokens.list()

        tokens = await mapped.run(work)

        assert {token.name: token.slug for token in tokens} == {"Tea": "tea", "Cocoa": "cocoa", "Milk": "cow"}
        assert len({token.id for token in tokens}) == 3

    async def test_a_value_may_be_wrapped_in_an_expression(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> Sequence[Shout]:
            shouts = repository_of(uow, Shout)
            await shouts.create_many([{"words": "hey"}, {"words": "you"}])
            return await shouts.list()

        assert [shout.words for shout in await mapped.run(work)] == ["HEY", "YOU"]

    async def test_rows_may_set_nothing_at_all(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> Sequence[Shout]:
            shouts = repository_of(uow, Shout)
            assert await shouts.create_many([{}, {}, {}]) == 3
            return await shouts.list()

        assert [(shout.words, shout.volume) for shout in await mapped.run(work)] == [(None, 11)] * 3

    async def test_an_odd_value_is_taken_as_from_an_entity(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for values in ODD:
                assert await _written(uow, values, at_once=True) == await _written(uow, values, at_once=False), values

        await mapped.run(work)

    async def test_a_listener_hears_of_the_statement(self, mapped: Shop) -> None:
        heard: list[Any] = []

        def listen(connection: Any, statement: Any, *execution: Any) -> None:
            heard.append(statement)

        engine = mapped.database.engine.sync_engine if mapped.backend.asynchronous else mapped.database.sync_engine
        event.listen(engine, "before_execute", listen)
        await mapped.run(lambda uow: repository_of(uow, Sample).create_many([{"place": 1}, {"place": 2}]))

        assert [statement.table.name for statement in heard if statement.is_insert] == ["bulk samples"]

    async def test_what_no_column_holds_is_refused(self, mapped: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for values in IMPOSSIBLE:
                rows = [{**dict.fromkeys(values), "place": 1}, {"place": 1, **values}]
                with pytest.raises(InvalidDataError):
                    async with uow.savepoint():
                        await repository_of(uow, Sample).create_many(rows)
            assert await repository_of(uow, Sample).count() == 0

        await mapped.run(work)


class TestRefusals:
    """What fails in many rows fails as it does in one."""

    @pytest.mark.parametrize(
        "values",
        [
            {"name": "tea"},
            {"shelf": 1, "position": 1},
            {"price": -1},
            {"name": None},
            {"category_id": 99},
            {"replaces_id": 99},
        ],
        ids=repr,
    )
    async def test_a_violation_names_the_same_constraint(self, shop: Shop, values: dict[str, Any]) -> None:
        first = {"name": "tea", "price": 1, "shelf": 1, "position": 1, "category_id": None, "replaces_id": None}
        bad = first | {"name": "cocoa", "position": 2} | values

        async def error_of(work: Callable[[ShopUnitOfWork], Awaitable[Any]]) -> Any:
            with pytest.raises(LayeredError) as caught:
                await shop.run(work)
            error: Any = caught.value
            return type(error), error.constraint, error.table, error.columns

        async def one_by_one(uow: ShopUnitOfWork) -> None:
            await uow.items.create(first)
            await uow.items.create(bad)

        expected = await error_of(one_by_one)
        assert await error_of(lambda uow: uow.items.create_many([first, bad])) == expected
        is_upsert = "name" not in values  # of another row, which fails
        if is_upsert and not (shop.backend.server == "mariadb" and "shelf" in values):  # which does not tell the key
            assert await error_of(lambda uow: uow.items.upsert_many([first, bad], on=Item.name)) == expected

    async def test_an_error_that_is_caught_undoes_the_unit_of_work(self, shop: Shop) -> None:
        rows = [{"name": "tea", "price": 1}] * 2

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "cocoa")
            with pytest.raises(UniqueViolationError):
                await uow.items.create_many(rows)

        with pytest.raises(RolledBackError, match=r"UniqueViolationError on items\.name"):
            await shop.run(work)
        assert await shop.names() == []

    async def test_a_savepoint_undoes_an_error_alone(self, shop: Shop) -> None:
        rows = [{"name": name, "price": 1, "shelf": 1, "position": 1} for name in ("tea", "milk")]

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "cocoa")
            for refused in (uow.items.create_many(rows), uow.items.upsert_many(rows, on=Item.name)):
                with pytest.raises(UniqueViolationError):
                    async with uow.savepoint():
                        await refused
            await uow.items.create_many(rows[:1])

        await shop.run(work)
        assert await shop.names() == ["cocoa", "tea"]


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_a_moment_without_a_time_zone_is_what_the_driver_makes_of_it(mapped: Shop) -> None:
    values = {"anywhere": datetime(2026, 1, 2, 3)}  # noqa: DTZ001  # what is tested

    async def work(uow: ShopUnitOfWork) -> None:
        await uow.session.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        assert await _written(uow, values, at_once=True) == await _written(uow, values, at_once=False)

    await mapped.run(work)


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_large_rows_are_no_array(mapped: Shop) -> None:
    rows = [{"place": place, "prose": "x" * 9 * 2**20} for place in (1, 2)]

    with Statements(mapped) as statements:
        await mapped.run(lambda uow: repository_of(uow, Sample).create_many(rows))

    assert ["unnest" in statement for statement, _ in statements.sent] == [False]


@pytest.mark.parametrize("shop", backends_of("sqlite"), indirect=True, ids=str)
async def test_a_schema_may_stand_in_for_another(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        options = {"schema_translate_map": {"another": None}}
        connection = await uow.session.run_sync(lambda session: session.connection(execution_options=options))
        await uow.session.run_sync(lambda _: Ticket.metadata.create_all(connection))
        tickets = repository_of(uow, Ticket)
        await tickets.create_many({"number": number, "holder": "a"} for number in (1, 2))
        assert await tickets.count() == 2

    await shop.run(work)


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_a_table_of_another_schema_counts_up_a_sequence(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await uow.session.execute(text("CREATE SCHEMA another"))
        await uow.session.run_sync(lambda session: Ticket.metadata.create_all(session.connection()))
        tickets = repository_of(uow, Ticket)
        await tickets.create_many({"holder": name} for name in ("a", "b"))
        await tickets.upsert_many([{"number": 12, "holder": "B"}, {"number": 13, "holder": "c"}])
        assert [(ticket.number, ticket.holder) for ticket in await tickets.list()] == [(11, "a"), (12, "B"), (13, "c")]
        await uow.rollback()

    await shop.run(work)
