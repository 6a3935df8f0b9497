from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import selectinload

from layered_backend import (
    BaseRepository,
    InvalidDataError,
    MultipleFoundError,
    NotFoundError,
    UniqueViolationError,
    UnitOfWorkError,
    UnknownFieldError,
)
from tests.databases import Shop
from tests.shop import Category, Country, Document, Item, ItemCreate, ItemUpdate, Meter, ShopUnitOfWork, Stock


async def _with_three_items(uow: ShopUnitOfWork) -> list[Item]:
    return [
        await uow.items.create({"name": "tea", "price": Decimal("3.50")}),
        await uow.items.create({"name": "coffee", "price": Decimal(5), "note": "strong"}),
        await uow.items.create({"name": "cocoa", "price": Decimal(4)}),
    ]


class TestKeys:
    async def test_an_integer_key_is_found_again(self, bound: Shop) -> None:
        created = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 3}))

        found = await bound.run(lambda uow: uow.items.get(created.id))

        assert (found.id, found.name, found.price) == (created.id, "tea", Decimal(3))

    async def test_a_composite_key_is_a_tuple_or_a_mapping(self, bound: Shop) -> None:
        await bound.run(lambda uow: uow.stocks.create({"warehouse": "north", "item_code": 7, "amount": 2}))

        by_tuple = await bound.run(lambda uow: uow.stocks.get(("north", 7)))
        by_mapping = await bound.run(lambda uow: uow.stocks.get({"item_code": 7, "warehouse": "north"}))

        assert by_tuple.amount == by_mapping.amount == 2
        assert await bound.run(lambda uow: uow.stocks.get_or_none(("south", 7))) is None

    async def test_a_uuid_key_is_known_before_the_row_is_written(self, bound: Shop) -> None:
        document = Document(id=uuid.uuid4(), title="plan")
        await bound.run(lambda uow: uow.documents.add(document))

        by_uuid = await bound.run(lambda uow: uow.documents.get(document.id))
        by_text = await bound.run(lambda uow: uow.documents.get(str(document.id)))

        assert by_uuid.title == by_text.title == "plan"

    async def test_a_uuid_key_is_made_when_none_is_given(self, bound: Shop) -> None:
        document = await bound.run(lambda uow: uow.documents.create({"title": "plan"}))

        assert document.id.version == 7

    async def test_a_text_key_is_found_again(self, bound: Shop) -> None:
        await bound.run(lambda uow: uow.countries.create({"code": "DE", "name": "Germany"}))

        assert (await bound.run(lambda uow: uow.countries.get("DE"))).name == "Germany"

    async def test_a_key_that_is_not_called_id_is_found_again(self, bound: Shop) -> None:
        await bound.run(lambda uow: uow.meters.create({"serial": 42, "reading": 7}))

        updated = await bound.run(lambda uow: uow.meters.update(42, {"reading": 8}))

        assert updated.reading == 8
        assert (await bound.run(lambda uow: uow.meters.get({"serial": 42}))).reading == 8

    @pytest.mark.parametrize("key", [10**30, -(10**30), 2**63, None, 0])
    async def test_a_number_that_no_row_can_have_is_not_found(self, bound: Shop, key: int | None) -> None:
        async def work(uow: ShopUnitOfWork) -> Item:
            assert await uow.items.get_or_none(key) is None
            return await uow.items.create({"name": "tea", "price": 1})

        await bound.run(work)

        assert await bound.run(lambda uow: uow.items.count()) == 1, "looking did not harm the unit of work"

    @pytest.mark.parametrize("key", ["\ud800", "nul\x00", "", "x" * 5000])
    async def test_a_text_that_no_row_can_have_is_not_found(self, bound: Shop, key: str) -> None:
        async def work(uow: ShopUnitOfWork) -> Country:
            assert await uow.countries.get_or_none(key) is None
            return await uow.countries.create({"code": "DE", "name": "Germany"})

        await bound.run(work)

        assert await bound.run(lambda uow: uow.countries.exists())

    async def test_a_text_that_is_no_uuid_is_not_found(self, bound: Shop) -> None:
        assert await bound.run(lambda uow: uow.documents.get_or_none("no-uuid")) is None

    @pytest.mark.parametrize("key", [("north",), ("north", 1, 2), {"warehouse": "north"}, "north"])
    async def test_a_composite_key_with_other_parts_is_an_error_that_names_them(
        self, sqlite_shop: Shop, key: object
    ) -> None:
        with pytest.raises(InvalidDataError, match=r"the key of Stock is \(warehouse, item_code\)"):
            await sqlite_shop.run(lambda uow: uow.stocks.get(key))

    async def test_a_key_of_another_type_is_an_error_that_names_it(self, sqlite_shop: Shop) -> None:
        with pytest.raises(InvalidDataError, match=r"Item\.id takes int, not str"):
            await sqlite_shop.run(lambda uow: uow.items.get("7"))
        with pytest.raises(InvalidDataError, match=r"Country\.code takes str, not int"):
            await sqlite_shop.run(lambda uow: uow.countries.get(7))
        with pytest.raises(InvalidDataError, match=r"Item\.id takes int, not bool"):
            await sqlite_shop.run(lambda uow: uow.items.get(True))


class TestReading:
    async def test_get_raises_what_was_not_found(self, bound: Shop) -> None:
        with pytest.raises(NotFoundError, match="Item 7 does not exist") as caught:
            await bound.run(lambda uow: uow.items.get(7))

        assert (caught.value.entity, caught.value.identity) == ("Item", 7)

    async def test_one_returns_the_only_match(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        assert (await bound.run(lambda uow: uow.items.one(Item.name == "tea"))).name == "tea"
        assert await bound.run(lambda uow: uow.items.one_or_none(Item.name == "milk")) is None

    async def test_one_raises_when_there_is_none_or_more_than_one(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        with pytest.raises(NotFoundError, match="no Item matches"):
            await bound.run(lambda uow: uow.items.one(Item.name == "milk"))
        with pytest.raises(MultipleFoundError, match="more than one Item matches"):
            await bound.run(lambda uow: uow.items.one(Item.price > 1))
        with pytest.raises(MultipleFoundError):
            await bound.run(lambda uow: uow.items.one_or_none(Item.price > 1))

    async def test_first_follows_the_primary_key_or_the_order_given(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        first = await bound.run(lambda uow: uow.items.first())
        dearest = await bound.run(lambda uow: uow.items.first(order_by=Item.price.desc()))

        assert first is not None
        assert first.name == "tea"
        assert dearest is not None
        assert dearest.name == "coffee"
        assert await bound.run(lambda uow: uow.items.first(Item.name == "milk")) is None

    async def test_list_filters_sorts_and_cuts(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        everything = await bound.run(lambda uow: uow.items.list())
        cheap = await bound.run(lambda uow: uow.items.cheaper_than(Decimal(5)))
        second = await bound.run(
            lambda uow: uow.items.list(order_by=[Item.note.is_(None), Item.name], limit=1, offset=1)
        )
        rest = await bound.run(lambda uow: uow.items.list(offset=2))
        nothing = await bound.run(lambda uow: uow.items.list(limit=0))

        assert [item.name for item in everything] == ["tea", "coffee", "cocoa"]
        assert [item.name for item in cheap] == ["tea", "cocoa"]
        assert [item.name for item in second] == ["cocoa"]
        assert [item.name for item in rest] == ["cocoa"]
        assert list(nothing) == []

    async def test_loader_options_load_what_is_asked_for(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            category = await uow.categories.create({"name": "drinks"})
            await uow.items.create({"name": "tea", "price": 1, "category_id": category.id})
            await uow.items.create({"name": "coffee", "price": 1, "category_id": category.id})

        await bound.run(work)
        options = [selectinload(Category.items)]

        by_list = await bound.run(lambda uow: uow.categories.list(options=options))
        by_key = await bound.run(lambda uow: uow.categories.get(by_list[0].id, options=options))
        only = await bound.run(lambda uow: uow.categories.one(options=options))

        assert [len(category.items) for category in (*by_list, by_key, only)] == [2, 2, 2]

    async def test_loader_options_load_what_is_asked_for_of_a_known_entity_too(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> int:
            category = await uow.categories.create({"name": "drinks"})
            await uow.items.create({"name": "tea", "price": 1, "category_id": category.id})
            again = await uow.categories.get(category.id, options=[selectinload(Category.items)])
            assert again is category
            return len(category.items)

        assert await bound.run(work) == 1

    @pytest.mark.parametrize("option", ["limit", "offset"])
    async def test_a_negative_cut_is_refused_and_a_huge_one_is_like_none(self, bound: Shop, option: str) -> None:
        def cut(rows: int) -> dict[str, Any]:
            return {option: rows}

        await bound.run(_with_three_items)

        with pytest.raises(InvalidDataError, match=f"{option} is at least 0, not -1"):
            await bound.run(lambda uow: uow.items.list(**cut(-1)))
        found = await bound.run(lambda uow: uow.items.list(**cut(10**30)))

        assert len(found) == (3 if option == "limit" else 0)

    async def test_text_is_compared_letter_by_letter(self, bound: Shop) -> None:
        for code in ("de", "DE", "DÉ", "DE "):
            await bound.run(lambda uow, code=code: uow.countries.create({"code": code, "name": "?"}))  # type: ignore[misc]

        assert await bound.run(lambda uow: uow.countries.count(Country.code == "DE")) == 1

    @pytest.mark.parametrize(
        ("criterion", "count"),
        [
            (Country.code.startswith("D"), 1),
            (Country.code.endswith("E"), 1),
            (Country.code.contains("D"), 1),
            (Country.code.like("D_"), 1),
            (Country.code.icontains("D"), 2),
        ],
        ids=["startswith", "endswith", "contains", "like", "icontains"],
    )
    async def test_a_pattern_respects_case_unless_it_says_otherwise(
        self, bound: Shop, criterion: ColumnElement[bool], count: int
    ) -> None:
        for code in ("de", "DE"):
            await bound.run(lambda uow, code=code: uow.countries.create({"code": code, "name": "?"}))  # type: ignore[misc]

        assert await bound.run(lambda uow: uow.countries.count(criterion)) == count

    async def test_exists_and_count(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        assert await bound.run(lambda uow: uow.items.exists(Item.price == 5)) is True
        assert await bound.run(lambda uow: uow.items.exists(Item.price == 6)) is False
        assert await bound.run(lambda uow: uow.items.count()) == 3
        assert await bound.run(lambda uow: uow.items.count(Item.price < 5, Item.note.is_(None))) == 2

    async def test_select_is_a_statement_to_build_on(self, bound: Shop) -> None:
        await bound.run(_with_three_items)

        async def work(uow: ShopUnitOfWork) -> list[str]:
            statement = uow.items.select(Item.price < 5).with_only_columns(Item.name).order_by(Item.name)
            return list(await uow.session.scalars(statement))

        assert await bound.run(work) == ["cocoa", "tea"]


class TestWriting:
    async def test_create_takes_a_mapping_or_a_schema(self, bound: Shop) -> None:
        by_mapping = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1}))
        by_schema = await bound.run(lambda uow: uow.items.create(ItemCreate(name="coffee", price=Decimal(2))))

        assert by_mapping.color == "white"
        assert by_schema.color == "white", "an omitted field that defaults to None is left to the model"
        assert by_schema.created_at.utcoffset() is not None

    async def test_create_writes_the_defaults_that_the_schema_declares(self, sqlite_shop: Shop) -> None:
        class RedItem(BaseModel):
            name: str
            price: int = 9
            color: str = "red"

        item = await sqlite_shop.run(lambda uow: uow.items.create(RedItem(name="rose")))

        assert (item.price, item.color) == (Decimal(9), "red")

    async def test_none_for_a_column_with_a_default_takes_the_default_on_create(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create(ItemCreate(name="tea", price=Decimal(1), color=None)))

        assert item.color == "white", "as SQLAlchemy does for new entities"

    async def test_patch_leaves_what_is_omitted_and_writes_an_explicit_null(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1, "note": "green"}))

        await bound.run(lambda uow: uow.items.update(item.id, ItemUpdate(price=Decimal(2))))
        kept = await bound.run(lambda uow: uow.items.get(item.id))
        await bound.run(lambda uow: uow.items.update(item.id, ItemUpdate(note=None)))
        nulled = await bound.run(lambda uow: uow.items.get(item.id))

        assert (kept.name, kept.price, kept.note) == ("tea", Decimal(2), "green")
        assert (nulled.name, nulled.price, nulled.note) == ("tea", Decimal(2), None)

    async def test_update_stamps_the_row_and_create_time_stays(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1}))

        updated = await bound.run(lambda uow: uow.items.update(item.id, {"price": 2}))

        assert item.updated_at == item.created_at
        assert updated.created_at == item.created_at
        assert updated.updated_at > item.updated_at

    async def test_update_takes_an_entity_of_the_same_unit_of_work(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> Item:
            return await uow.items.update(await uow.items.create({"name": "tea", "price": 1}), {"price": 2})

        item = await bound.run(work)

        assert (await bound.run(lambda uow: uow.items.get(item.id))).price == 2

    async def test_an_expression_is_computed_by_the_database_and_read_back(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> Item:
            item = await uow.items.create({"name": "tea", "price": 1})
            updated = await uow.items.update(item, {"price": Item.price + 1, "note": func.upper("green")})
            assert (updated.price, updated.note) == (Decimal(2), "GREEN")
            return await uow.items.create({"name": "coffee", "price": 1, "note": func.lower("STRONG")})

        assert (await bound.run(work)).note == "strong"

    async def test_an_entity_of_another_unit_of_work_is_refused(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1}))

        with pytest.raises(UnitOfWorkError, match="not of this unit of work"):
            await bound.run(lambda uow: uow.items.update(item, {"price": 2}))
        with pytest.raises(UnitOfWorkError, match="not of this unit of work"):
            await bound.run(lambda uow: uow.items.delete(item))

    async def test_an_unknown_field_is_an_error_that_names_the_nearest_and_changes_nothing(self, bound: Shop) -> None:
        item = await bound.run(lambda uow: uow.items.create({"name": "tea", "price": 1}))

        with pytest.raises(UnknownFieldError, match="Item has no field 'prise'; did you mean 'price'"):
            await bound.run(lambda uow: uow.items.update(item.id, {"name": "changed", "prise": 2}))
        with pytest.raises(UnknownFieldError, match="Item has no field 'zzz'; it has category, category_id, color"):
            await bound.run(lambda uow: uow.items.create({"name": "coffee", "price": 1, "zzz": 1}))

        assert [item.name for item in await bound.run(lambda uow: uow.items.list())] == ["tea"]

    @pytest.mark.parametrize("nested", [{"name": "drinks"}, ItemUpdate(name="drinks")])
    async def test_nested_data_for_a_relationship_is_refused(self, sqlite_shop: Shop, nested: object) -> None:
        with pytest.raises(InvalidDataError, match=r"Item\.category takes Category entities, not nested data"):
            await sqlite_shop.run(lambda uow: uow.items.create({"name": "tea", "price": 1, "category": nested}))
        with pytest.raises(InvalidDataError, match=r"Category\.items takes Item entities, not nested data"):
            await sqlite_shop.run(lambda uow: uow.categories.create({"name": "drinks", "items": [nested]}))

    async def test_entities_are_given_to_relationships(self, bound: Shop) -> None:
        async def create(uow: ShopUnitOfWork) -> Item:
            drinks = await uow.categories.create({"name": "drinks"})
            return await uow.items.create({"name": "tea", "price": 1, "category": drinks})

        async def move(uow: ShopUnitOfWork) -> Category:
            food = await uow.categories.create({"name": "food"})
            tea = await uow.items.get(item.id)
            await uow.categories.update((await uow.categories.get(item.category_id)).id, {"items": []})
            await uow.items.update(tea, {"category": food})
            return food

        item = await bound.run(create)
        food = await bound.run(move)

        assert (await bound.run(lambda uow: uow.items.get(item.id))).category_id == food.id

    async def test_delete_takes_a_key_or_an_entity_and_returns_it(self, bound: Shop) -> None:
        items = await bound.run(_with_three_items)

        async def by_entity(uow: ShopUnitOfWork) -> Item:
            return await uow.items.delete(await uow.items.get(items[1].id))

        by_key = await bound.run(lambda uow: uow.items.delete(items[0].id))

        assert by_key.name == "tea"
        assert (await bound.run(by_entity)).name == "coffee"
        assert [item.name for item in await bound.run(lambda uow: uow.items.list())] == ["cocoa"]

    async def test_update_and_delete_of_a_missing_key_say_so(self, bound: Shop) -> None:
        with pytest.raises(NotFoundError):
            await bound.run(lambda uow: uow.items.update(7, {"price": 1}))
        with pytest.raises(NotFoundError):
            await bound.run(lambda uow: uow.items.delete(7))

    async def test_the_error_is_raised_at_the_call_that_caused_it(self, bound: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "tea", "price": 1})
            with pytest.raises(UniqueViolationError):
                await uow.items.create({"name": "tea", "price": 2})
            await uow.rollback()

        await bound.run(work)

    async def test_text_of_every_script_comes_back(self, bound: Shop) -> None:
        names = ["Ελλάδα", "日本", "עברית", "naïve café", "🫖 %_'\";--", "\\"]
        for name in names:
            await bound.run(lambda uow, name=name: uow.categories.create({"name": name}))  # type: ignore[misc]  # mypy

        assert [category.name for category in await bound.run(lambda uow: uow.categories.list())] == names


class TestModel:
    async def test_the_model_may_be_an_argument(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            repository = BaseRepository(uow.session, Meter)
            await repository.create({"serial": 1, "reading": 2})

            assert (await repository.get(1)).reading == 2

    async def test_a_repository_without_a_model_says_how_to_write_it(self, sqlite_shop: Shop) -> None:
        class Nameless(BaseRepository):  # type: ignore[type-arg]  # pyright: ignore
            pass

        async with sqlite_shop.unit() as uow:
            with pytest.raises(TypeError, match=r"class Nameless\(BaseRepository\[Item\]\)"):
                Nameless(uow.session)

    async def test_it_works_with_rows_of_a_composite_key_in_one_list(self, sqlite_shop: Shop) -> None:
        async with sqlite_shop.unit() as uow:
            for warehouse, code in (("b", 1), ("a", 2), ("a", 1)):
                await uow.stocks.add(Stock(warehouse=warehouse, item_code=code, amount=1))

            found = await uow.stocks.list()

        assert [(stock.warehouse, stock.item_code) for stock in found] == [("a", 1), ("a", 2), ("b", 1)]
