"""Guarantee 15: what each driver says of a violation becomes the same class, constraint, table and columns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, insert, inspect, text, update
from sqlalchemy.exc import IntegrityError

from layered_backend import (
    CheckViolationError,
    DatabaseUnavailableError,
    ForeignKeyViolationError,
    InvalidDataError,
    LayeredError,
    NotNullViolationError,
    StaleError,
    StatementTimeoutError,
    UniqueViolationError,
)
from tests.databases import Shop, backends_of, database_at
from tests.shop import Item, Movement, ShopUnitOfWork, Stock

Facts = tuple[str | None, str | None, tuple[str, ...]]


async def _fill(uow: ShopUnitOfWork) -> None:
    drinks = await uow.categories.create({"name": "drinks"})
    await uow.items.create({"name": "tea", "price": 1, "shelf": 1, "position": 1, "category_id": drinks.id})
    await uow.countries.create({"code": "DE", "name": "Germany"})
    await uow.countries.create({"code": "FR", "name": "France"})
    await uow.stocks.create({"warehouse": "north", "item_code": 1, "amount": 1})
    await uow.movements.create({"warehouse": "north", "item_code": 1, "from_country": "DE", "to_country": "FR"})


async def _caught(shop: Shop, work: Callable[[ShopUnitOfWork], Awaitable[Any]]) -> LayeredError:
    await shop.run(_fill)
    with pytest.raises(LayeredError) as caught:
        await shop.run(work)
    assert caught.value.__cause__ is not None, "the driver's error is the cause"
    return caught.value


def _facts(error: Any) -> Facts:
    return error.constraint, error.table, error.columns


def _items(uow: ShopUnitOfWork, **values: Any) -> Awaitable[Any]:
    return uow.items.create({"name": "coffee", "price": 1} | values)


def _movement(uow: ShopUnitOfWork, **values: Any) -> Awaitable[Any]:
    return uow.movements.create({"warehouse": "north", "item_code": 1} | values)


CASES: dict[str, tuple[Callable[[ShopUnitOfWork], Awaitable[Any]], type[LayeredError], Facts]] = {
    "unique on one column": (
        lambda uow: _items(uow, name="tea"),
        UniqueViolationError,
        ("uq_items_name", "items", ("name",)),
    ),
    "unique on two columns": (
        lambda uow: _items(uow, shelf=1, position=1),
        UniqueViolationError,
        ("uq_items_shelf_position", "items", ("shelf", "position")),
    ),
    "unique with a name of its own": (
        lambda uow: _movement(uow, from_country="DE", to_country="FR"),
        UniqueViolationError,
        ("one_way", "movements", ("from_country", "to_country")),
    ),
    "primary key": (
        lambda uow: uow.countries.create({"code": "DE", "name": "again"}),
        UniqueViolationError,
        ("pk_countries", "countries", ("code",)),
    ),
    "composite primary key": (
        lambda uow: uow.stocks.create({"warehouse": "north", "item_code": 1, "amount": 2}),
        UniqueViolationError,
        ("pk_stocks", "stocks", ("warehouse", "item_code")),
    ),
    "foreign key on insert": (
        lambda uow: _items(uow, category_id=99),
        ForeignKeyViolationError,
        ("fk_items_category_id_categories", "items", ("category_id",)),
    ),
    "foreign key to the same table on insert": (
        lambda uow: _items(uow, replaces_id=99),
        ForeignKeyViolationError,
        ("fk_items_replaces_id_items", "items", ("replaces_id",)),
    ),
    "one of three foreign keys on insert": (
        lambda uow: _movement(uow, from_country="DE", to_country="XX"),
        ForeignKeyViolationError,
        ("fk_movements_to_country_countries", "movements", ("to_country",)),
    ),
    "composite foreign key on insert": (
        lambda uow: uow.movements.create({"warehouse": "south", "item_code": 1}),
        ForeignKeyViolationError,
        ("fk_movements_warehouse_item_code_stocks", "movements", ("warehouse", "item_code")),
    ),
    "foreign key on update": (
        lambda uow: uow.session.execute(update(Movement).values(from_country="XX")),
        ForeignKeyViolationError,
        ("fk_movements_from_country_countries", "movements", ("from_country",)),
    ),
    "foreign key on delete of a row": (
        lambda uow: uow.stocks.delete(("north", 1)),
        ForeignKeyViolationError,
        ("fk_movements_warehouse_item_code_stocks", "movements", ("warehouse", "item_code")),
    ),
    "one of two foreign keys on delete": (
        lambda uow: uow.countries.delete("FR"),
        ForeignKeyViolationError,
        ("fk_movements_to_country_countries", "movements", ("to_country",)),
    ),
    "foreign key on delete by a statement": (
        lambda uow: uow.session.execute(delete(Stock).where(Stock.amount == 1)),
        ForeignKeyViolationError,
        ("fk_movements_warehouse_item_code_stocks", "movements", ("warehouse", "item_code")),
    ),
    "not null": (
        lambda uow: _items(uow, price=None),
        NotNullViolationError,
        (None, "items", ("price",)),
    ),
    "check": (
        lambda uow: _items(uow, price=Decimal(-1)),
        CheckViolationError,
        ("ck_items_price_not_negative", "items", ("price",)),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_violation_reads_alike_on_every_driver(shop: Shop, case: str) -> None:
    work, expected, facts = CASES[case]

    error = await _caught(shop, work)

    assert type(error) is expected
    assert _facts(error) == facts


SIDES: dict[str, tuple[Callable[[ShopUnitOfWork], Awaitable[Any]], bool | None]] = {
    "insert": (lambda uow: _items(uow, category_id=99), False),
    "update of the reference": (lambda uow: uow.session.execute(update(Movement).values(from_country="XX")), False),
    "update of the key": (lambda uow: uow.session.execute(update(Stock).values(item_code=2)), True),
    "delete": (lambda uow: uow.countries.delete("FR"), True),
    "text": (lambda uow: uow.session.execute(text("DELETE FROM countries WHERE code = 'FR'")), None),
}


@pytest.mark.parametrize("side", SIDES)
async def test_a_foreign_key_says_which_side_was_written(shop: Shop, side: str) -> None:
    work, is_referred_to = SIDES[side]

    error = await _caught(shop, work)

    assert isinstance(error, ForeignKeyViolationError)
    assert error.is_referred_to is is_referred_to


async def test_a_statement_of_many_rows_reads_alike(shop: Shop) -> None:
    rows = [{"name": name, "price": 1, "category_id": key} for name, key in (("a", None), ("b", 99))]

    error = await _caught(shop, lambda uow: uow.session.execute(insert(Item), rows))

    assert _facts(error) == ("fk_items_category_id_categories", "items", ("category_id",))


async def test_text_instead_of_an_expression_tells_what_the_driver_tells(shop: Shop) -> None:
    sql = text("INSERT INTO countries (code, name) VALUES ('DE', 'again')")

    error = await _caught(shop, lambda uow: uow.session.execute(sql))

    assert isinstance(error, UniqueViolationError)
    assert "again" not in str(error)


async def test_asking_whether_a_table_is_there_harms_nothing(shop: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        has_table = await uow.session.run_sync(lambda session: inspect(session.connection()).has_table("nowhere"))
        assert not has_table
        await uow.items.create({"name": "tea", "price": 1})

    await shop.run(work)

    assert await shop.run(lambda uow: uow.items.count()) == 1


async def test_a_trigger_of_sqlite_is_no_foreign_key(sqlite_shop: Shop) -> None:
    async with sqlite_shop.unit() as uow:
        trigger = "CREATE TRIGGER dear BEFORE INSERT ON items BEGIN SELECT RAISE(ABORT, 'too dear'); END"
        await uow.session.execute(text(trigger))

    with pytest.raises(IntegrityError, match="too dear"):
        await sqlite_shop.run(_items)


async def test_no_message_holds_a_value(shop: Shop) -> None:
    await shop.run(_fill)

    for work, _, _ in CASES.values():
        with pytest.raises(LayeredError) as caught:
            await shop.run(work)
        assert not {"tea", "DE", "north", "99"} & set(str(caught.value).replace("'", " ").split())


async def test_a_value_that_does_not_fit_is_invalid_data(shop: Shop) -> None:
    async def rejected(values: dict[str, Any]) -> None:
        with pytest.raises(InvalidDataError):
            await shop.run(lambda uow: uow.items.create({"name": "coffee", "price": 1} | values))

    await rejected({"price": "much"})
    await rejected({"shelf": 10**30})
    await rejected({"name": "\ud800"})
    await rejected({"created_at": "yesterday"})
    await rejected({"note": {"a": 1}})


async def test_a_text_that_is_too_long_is_invalid_data(shop: Shop) -> None:
    if shop.backend.server == "mariadb":
        error = await _caught(shop, lambda uow: uow.categories.create({"name": "x" * 300}))
        assert isinstance(error, InvalidDataError)
        assert error.columns == ("name",)
    else:
        category = await shop.run(lambda uow: uow.categories.create({"name": "x" * 300}))
        assert len(category.name) == 300, "the column has no limit there"


async def test_a_row_deleted_meanwhile_is_stale(shop: Shop) -> None:
    await shop.run(_fill)

    async def work(uow: ShopUnitOfWork) -> None:
        category = await uow.categories.create({"name": "food"})
        await uow.session.execute(text("DELETE FROM categories WHERE name = 'food'"))
        await uow.categories.update(category, {"name": "meals"})

    with pytest.raises(StaleError, match="changed or deleted since it was read"):
        await shop.run(work)


async def test_a_missing_table_stays_an_error_of_sqlalchemy(shop: Shop) -> None:
    with pytest.raises(Exception, match=r"(?i)nowhere") as caught:
        await shop.run(lambda uow: uow.session.execute(text("SELECT * FROM nowhere")))

    assert not isinstance(caught.value, LayeredError)


async def test_a_unit_of_work_that_gets_no_connection_says_unavailable(async_shop: Shop) -> None:
    url = async_shop.database.url
    async with database_at(url, pool_size=1, max_overflow=0, pool_timeout=0.05) as small:
        async with ShopUnitOfWork(small) as holder:
            await holder.session.connection()
            with pytest.raises(DatabaseUnavailableError, match="no pooled connection became free"):
                async with ShopUnitOfWork(small, read_only=True) as waiter:
                    await waiter.session.execute(text("SELECT 1"))


_LIMIT = {"postgresql": "SET LOCAL statement_timeout = 50", "mariadb": "SET max_statement_time = 0.05"}
_NO_LIMIT = {"postgresql": "SET LOCAL statement_timeout = 0", "mariadb": "SET max_statement_time = 0"}


@pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_statement_that_the_database_stopped_says_so(shop: Shop) -> None:
    server = shop.backend.server
    slow = "SELECT count(*) FROM generate_series(1, 100000000)"
    if server == "mariadb":
        slow = "SELECT count(*) FROM seq_1_to_10000 AS a, seq_1_to_100000 AS b"

    async def work(uow: ShopUnitOfWork) -> None:
        await uow.session.execute(text(_LIMIT[server]))
        try:
            with pytest.raises(StatementTimeoutError, match="took too long"):
                async with uow.savepoint():
                    await uow.session.execute(text(slow))
        finally:
            await uow.session.execute(text(_NO_LIMIT[server]))

    await shop.run(work)
