"""What becomes of rows: inserted, updated, left alone, retired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import event

from layered_backend.seeding import RowAction, SeedContext, Seeder, SeedRunner, SeedStatus, ref
from tests.seeding.catalogue import Badge, Catalogue, Category, Color, Label, Node, Person, Product, Sample, shipping

Row = dict[str, Any]


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> Iterator[Row]:
        yield {"name": "drinks"}
        yield {"name": "food"}


class ProductSeeder(Seeder[Product]):
    key = (Product.name,)
    depends_on = (CategorySeeder,)
    insert_only = (Product.price,)

    async def rows(self) -> AsyncIterator[Row]:
        yield {"name": "tea", "price": 3, "category_id": ref(CategorySeeder, "drinks")}
        yield {"name": "bread", "price": "2.50", "note": "rye", "category_id": ref(CategorySeeder, "food")}


async def test_rows_are_inserted_with_what_they_refer_to(catalogue: Catalogue) -> None:
    report = await catalogue.seed_well(ProductSeeder, CategorySeeder)

    assert [(result.name, result.inserted) for result in report.results] == [
        ("CategorySeeder", 2),
        ("ProductSeeder", 2),
    ]
    category_ids = dict(await catalogue.rows(Category.name, Category.id))
    assert await catalogue.rows(Product.name, Product.price, Product.note, Product.category_id) == [
        ("bread", Decimal("2.5"), "rye", category_ids["food"]),
        ("tea", Decimal(3), None, category_ids["drinks"]),
    ]


async def test_the_second_run_writes_nothing_and_touches_nothing(catalogue: Catalogue) -> None:
    await catalogue.seed_well(ProductSeeder, CategorySeeder)
    before = await catalogue.rows(Product.id, Product.created_at, Product.updated_at)

    report = await catalogue.seed_well(ProductSeeder, CategorySeeder)

    assert [(result.unchanged, result.inserted, result.updated) for result in report.results] == [(2, 0, 0)] * 2
    assert catalogue.statements.writes == []
    assert await catalogue.rows(Product.id, Product.created_at, Product.updated_at) == before


async def test_what_differs_is_updated_and_what_is_set_once_stays(catalogue: Catalogue) -> None:
    await catalogue.add(Product(name="tea", price=Decimal(9), note="an operator's"), Product(name="salt", note="mine"))
    created = dict(await catalogue.rows(Product.name, Product.created_at))

    report = await catalogue.seed_well(ProductSeeder, CategorySeeder)

    assert (report["ProductSeeder"].inserted, report["ProductSeeder"].updated) == (1, 1)
    rows = {name: rest for name, *rest in await catalogue.rows(Product.name, Product.price, Product.note)}
    assert rows == {
        "tea": [Decimal(9), "an operator's"],
        "salt": [Decimal(1), "mine"],
        "bread": [Decimal("2.5"), "rye"],
    }
    stamps = {
        name: (at, updated)
        for name, at, updated in await catalogue.rows(Product.name, Product.created_at, Product.updated_at)
    }
    assert stamps["tea"][0] == created["tea"] < stamps["tea"][1]
    assert stamps["salt"] == (created["salt"], created["salt"])


async def test_an_attribute_that_some_rows_leave_out_is_left_alone_in_them(catalogue: Catalogue) -> None:
    await catalogue.add(Product(name="tea", note="mine"), Product(name="salt", note="mine"))

    report = await catalogue.seed_well(
        shipping(Product, Product.name, rows=[{"name": "tea", "note": "ours"}, {"name": "salt"}, {"name": "oil"}])
    )

    result = report["Shipped"]
    assert (result.inserted, result.updated, result.unchanged) == (1, 1, 1)
    assert await catalogue.rows(Product.name, Product.note) == [("oil", None), ("salt", "mine"), ("tea", "ours")]


@pytest.mark.parametrize("model", [Label, Badge])
async def test_null_in_a_key_equals_null(catalogue: Catalogue, model: Any) -> None:
    rows = [{"scope": scope, "text": text, "note": "a"} for scope in (None, "s") for text in ("x", "y")]
    seeder = shipping(model, model.scope, model.text, rows=rows)
    await catalogue.seed_well(seeder)
    await catalogue.seed_well(seeder)
    rows[0]["note"] = "b"

    report = await catalogue.seed_well(seeder)

    assert (report["Shipped"].updated, report["Shipped"].unchanged) == (1, 3)
    assert await catalogue.rows(model.scope, model.text, model.note) == [
        (None, "x", "b"), (None, "y", "a"), ("s", "x", "a"), ("s", "y", "a"),
    ]  # fmt: skip


async def test_values_are_compared_by_what_they_mean(catalogue: Catalogue) -> None:
    moment = datetime(2024, 2, 29, 12, 30, 15, 123456)  # noqa: DTZ001  # of a column without an offset
    rows: list[Row] = [
        {
            "code": "a",
            "data": {"x": [1, 2.0, True, None], "y": {"b": 1, "a": "é"}},
            "ratio": 0.1 + 0.2,
            "amount": "12.50",
        },
        {"code": "b", "data": (1, 2), "ratio": 1, "amount": 3, "taken": moment, "seen": moment.replace(tzinfo=UTC)},
        {"code": "c", "data": None, "ratio": 1.23456789, "day": date(2024, 2, 29), "is_good": True, "color": "GREEN"},
        {"code": "d", "seen": "2024-02-29T12:30:15+02:00", "day": "2024-02-29", "is_good": "false", "color": Color.RED},
    ]
    seeder = shipping(Sample, Sample.code, rows=rows)
    assert (await catalogue.seed_well(seeder))["Shipped"].inserted == 4

    report = await catalogue.seed_well(seeder, dry_run=True)

    assert [str(change) for change in report["Shipped"].changes] == []
    assert report["Shipped"].unchanged == 4
    assert await catalogue.rows(Sample.code, Sample.is_good, Sample.color, Sample.day) == [
        ("a", None, None, None),
        ("b", None, None, None),
        ("c", True, Color.GREEN, date(2024, 2, 29)),
        ("d", False, Color.RED, date(2024, 2, 29)),
    ]


async def test_true_in_json_is_not_one(catalogue: Catalogue) -> None:
    await catalogue.seed_well(shipping(Sample, Sample.code, rows=[{"code": "a", "data": {"x": 1}}]))

    report = await catalogue.seed_well(shipping(Sample, Sample.code, rows=[{"code": "a", "data": {"x": True}}]))

    assert report["Shipped"].updated == 1
    assert (await catalogue.rows(Sample.data))[0][0]["x"] is True


async def test_a_row_may_be_a_pydantic_model(catalogue: Catalogue) -> None:
    class CategoryRow(BaseModel):
        name: str

    rows = [CategoryRow(name="drinks"), CategoryRow(name="food")]

    assert (await catalogue.seed_well(shipping(Category, Category.name, rows=rows)))["Shipped"].inserted == 2
    assert (await catalogue.seed_well(shipping(Category, Category.name, rows=rows)))["Shipped"].unchanged == 2


class TestTrees:
    """References between rows of one seeder, in any order."""

    async def test_children_may_come_before_their_parents(self, catalogue: Catalogue) -> None:
        class PersonSeeder(Seeder[Person]):
            key = (Person.code,)

            def rows(self) -> Iterator[Row]:
                for code, boss in (("c", "b"), ("b", "a"), ("d", "c"), ("a", None)):
                    boss_code = boss and ref(PersonSeeder, boss)
                    yield {"code": code, "boss_code": boss_code, "mentor_code": ref(PersonSeeder, boss or code)}

        report = await catalogue.seed(PersonSeeder)
        assert "rows 4 refer to each other" in str(report["PersonSeeder"].error)

    async def test_the_key_may_hold_the_parent(self, catalogue: Catalogue) -> None:
        class NodeSeeder(Seeder[Node]):
            key = (Node.parent_id, Node.name)

            def rows(self) -> Iterator[Row]:
                root = ref(NodeSeeder, None, "root")
                yield {"parent_id": ref(NodeSeeder, root, "left"), "name": "leaf"}
                yield {"parent_id": ref(NodeSeeder, root, "right"), "name": "leaf"}
                yield {"parent_id": root, "name": "left"}
                yield {"parent_id": root, "name": "right"}
                yield {"parent_id": None, "name": "root"}

        dry = await catalogue.seed_well(NodeSeeder, dry_run=True)
        assert dry["NodeSeeder"].inserted == 5
        assert (await catalogue.seed_well(NodeSeeder))["NodeSeeder"].inserted == 5

        report = await catalogue.seed_well(NodeSeeder)

        assert report["NodeSeeder"].unchanged == 5
        assert catalogue.statements.writes == []
        nodes = {row[0]: row[1:] for row in await catalogue.rows(Node.id, Node.parent_id, Node.name)}
        paths = sorted("/".join(_path(nodes, key)) for key in nodes)
        assert paths == ["root", "root/left", "root/left/leaf", "root/right", "root/right/leaf"]

    async def test_a_circle_is_closed_by_a_second_update(self, catalogue: Catalogue) -> None:
        class CircleSeeder(Seeder[Product]):
            key = (Product.name,)

            def rows(self) -> Iterator[Row]:
                yield {"name": "tea", "position": ref(CircleSeeder, "salt")}
                yield {"name": "salt", "position": ref(CircleSeeder, "tea")}

        report = await catalogue.seed_well(CircleSeeder)
        again = await catalogue.seed_well(CircleSeeder)

        assert (report["CircleSeeder"].inserted, again["CircleSeeder"].unchanged) == (2, 2)
        ids = dict(await catalogue.rows(Product.name, Product.id))
        assert await catalogue.rows(Product.name, Product.position) == [("salt", ids["tea"]), ("tea", ids["salt"])]

    async def test_a_row_of_a_user_may_be_the_parent(self, catalogue: Catalogue) -> None:
        await catalogue.add(Node(name="theirs"))

        class NodeSeeder(Seeder[Node]):
            key = (Node.parent_id, Node.name)

            def rows(self) -> Iterator[Row]:
                yield {"parent_id": ref(NodeSeeder, None, "theirs"), "name": "ours"}

        await catalogue.seed_well(NodeSeeder)

        assert (await catalogue.seed_well(NodeSeeder))["NodeSeeder"].unchanged == 1

    async def test_retired_children_go_before_their_parents(self, catalogue: Catalogue) -> None:
        root = Node(name="root")
        await catalogue.add(root)
        child = Node(name="child", parent_id=root.id)
        await catalogue.add(child)
        await catalogue.add(Node(name="grandchild", parent_id=child.id))

        class NodeSeeder(Seeder[Node]):
            key = (Node.name,)
            retired = ("root", "child", "grandchild")

            def rows(self) -> list[Row]:
                return []

        assert (await catalogue.seed_well(NodeSeeder))["NodeSeeder"].deleted == 3
        assert await catalogue.rows(Node.name) == []


def _path(nodes: dict[Any, Any], key: Any) -> list[str]:
    parent, name = nodes[key]
    return [*(_path(nodes, parent) if parent else ()), name]


class TestRetiring:
    async def test_retired_rows_are_deleted_where_they_are(self, catalogue: Catalogue) -> None:
        await catalogue.add(Category(name="old"), Category(name="mine"))
        seeder = shipping(Category, Category.name, rows=[{"name": "new"}], retired=("old", "older"))

        report = await catalogue.seed_well(seeder)
        again = await catalogue.seed_well(seeder)

        assert (report["Shipped"].deleted, again["Shipped"].deleted) == (1, 0)
        assert catalogue.statements.writes == []
        assert await catalogue.rows(Category.name) == [("mine",), ("new",)]

    async def test_they_go_in_reverse_order(self, catalogue: Catalogue) -> None:
        category = Category(name="old")
        category.products = [Product(name="old")]
        await catalogue.add(category)
        categories = shipping(Category, Category.name, rows=[], retired=("old",), name="Categories")
        products = shipping(Product, Product.name, rows=[], retired=("old",), name="Products", depends_on=(categories,))

        report = await catalogue.seed_well(categories, products)

        assert (report["Categories"].deleted, report["Products"].deleted) == (1, 1)

    async def test_a_row_that_cannot_go_fails_its_seeder_alone(self, catalogue: Catalogue) -> None:
        category = Category(name="old")
        category.products = [Product(name="of a user")]
        await catalogue.add(category)
        categories = shipping(Category, Category.name, rows=[{"name": "new"}], retired=("old",), name="Categories")
        dependent = shipping(Product, Product.name, rows=[{"name": "tea"}], name="Products", depends_on=(categories,))
        labels = shipping(Label, Label.text, rows=[{"text": "x"}], name="Labels")

        report = await catalogue.seed(categories, dependent, labels)

        assert [result.status for result in report.results] == [SeedStatus.FAILED, SeedStatus.SKIPPED, SeedStatus.DONE]
        assert "still referred to" in str(report["Categories"].error)
        assert await catalogue.rows(Category.name) == [("old",)]
        assert await catalogue.rows(Product.name) == [("of a user",)]
        assert await catalogue.rows(Label.text) == [("x",)]

    async def test_in_production_nothing_is_deleted_unasked(self, catalogue: Catalogue) -> None:
        await catalogue.add(Category(name="old"))
        seeder = shipping(Category, Category.name, rows=[{"name": "new"}], retired=("old",))

        refused = await catalogue.seed(seeder, environment="production")

        assert not refused.ok
        assert "delete name='old'" in str(refused["Shipped"].error)
        assert await catalogue.rows(Category.name) == [("old",)]
        assert (await catalogue.seed_well(seeder, environment="production", allow_deletes=True))["Shipped"].deleted == 1
        assert await catalogue.rows(Category.name) == [("new",)]


class TestDryRun:
    async def test_it_tells_each_row_and_writes_nothing(self, catalogue: Catalogue) -> None:
        await catalogue.add(Product(name="tea", note="old"), Category(name="gone"))
        categories = shipping(Category, Category.name, rows=[{"name": "food"}], retired=("gone",), name="Categories")
        products = shipping(
            Product,
            Product.name,
            rows=[
                {"name": "tea", "note": "new", "category_id": ref(categories, "food")},
                {"name": "salt", "category_id": ref(categories, "food")},
            ],
            name="Products",
            depends_on=(categories,),
        )
        before = await catalogue.rows(Product.id, Product.name, Product.note, Product.updated_at)

        report = await catalogue.seed_well(categories, products, dry_run=True)

        assert report.is_dry_run
        assert [str(change) for change in report["Categories"].changes] == ["insert name='food'", "delete name='gone'"]
        insert, update = report["Products"].changes
        assert (insert.action, insert.key) == (RowAction.INSERT, {"name": "salt"})
        assert str(update) == ("update name='tea' (note: 'old' -> 'new', category_id: None -> ref(Categories, 'food'))")
        assert catalogue.statements.writes == []
        assert await catalogue.rows(Product.id, Product.name, Product.note, Product.updated_at) == before
        assert await catalogue.rows(Category.name) == [("gone",)]

    async def test_what_would_write_past_its_rows_is_not_foreseen(self, catalogue: Catalogue) -> None:
        class CustomSeeder(Seeder[Category]):
            key = (Category.name,)

            async def run(self, context: SeedContext) -> None:
                context.session.add(Category(name="drinks"))
                await context.session.flush()
                context.count(inserted=1)

        report = await catalogue.seed(CustomSeeder, dry_run=True)

        assert report.ok
        assert report["CustomSeeder"].status is SeedStatus.SKIPPED
        assert await catalogue.rows(Category.name) == []
        assert (await catalogue.seed_well(CustomSeeder))["CustomSeeder"].inserted == 1


async def test_a_seeder_may_do_more_than_rows(catalogue: Catalogue) -> None:
    class GreetingSeeder(Seeder[Label]):
        key = (Label.text,)
        depends_on = (CategorySeeder,)

        async def run(self, context: SeedContext) -> None:
            drinks = await context.find(ref(CategorySeeder, "drinks"))
            await context.reconcile([{"text": f"{context.environment} {drinks > 0}"}])

    report = await catalogue.seed_well(GreetingSeeder, CategorySeeder, environment="staging")

    assert report["GreetingSeeder"].inserted == 1
    assert await catalogue.rows(Label.text) == [("staging True",)]


async def test_a_listener_of_the_mapped_class_hears_of_each_new_row(catalogue: Catalogue) -> None:
    def stamp(mapper: Any, connection: Any, label: Label) -> None:
        label.note = f"stamped {label.text}"

    event.listen(Label, "before_insert", stamp)
    try:
        await catalogue.seed_well(shipping(Label, Label.text, rows=[{"text": "x"}, {"text": "y"}]))
    finally:
        event.remove(Label, "before_insert", stamp)

    assert await catalogue.rows(Label.note) == [("stamped x",), ("stamped y",)]


async def test_new_rows_take_one_statement_for_many_and_one_to_read_their_keys(catalogue: Catalogue) -> None:
    rows = [{"name": f"c{number}"} for number in range(500)]

    await catalogue.seed_well(shipping(Category, Category.name, rows=rows))

    assert len(catalogue.statements.writes) == 1
    assert len(catalogue.statements.reads) == 2


async def test_a_reference_finds_rows_of_users(catalogue: Catalogue) -> None:
    await catalogue.add(Category(name="theirs"))
    products = shipping(
        Product,
        Product.name,
        rows=[{"name": "tea", "category_id": ref(CategorySeeder, "theirs")}],
        depends_on=(CategorySeeder,),
    )

    await catalogue.seed_well(products, CategorySeeder)

    ids = dict(await catalogue.rows(Category.name, Category.id))
    assert await catalogue.rows(Product.category_id) == [(ids["theirs"],)]


async def test_many_rows_take_few_statements(catalogue: Catalogue) -> None:
    rows = [{"name": f"c{number}"} for number in range(2500)]
    parents = shipping(Category, Category.name, rows=rows, name="Parents")
    children = shipping(
        Product,
        Product.name,
        rows=[{"name": f"p{n}", "category_id": ref(parents, f"c{n}")} for n in range(2500)],
        depends_on=(parents,),
        name="Children",
    )
    runner = SeedRunner([children, parents], database=catalogue.database)
    first = await catalogue.run(runner)
    assert [result.inserted for result in first.results] == [2500, 2500]

    second = await catalogue.run(runner)

    assert [result.unchanged for result in second.results] == [2500, 2500]
    assert catalogue.statements.writes == []
    assert len(catalogue.statements.reads) == 6  # of 1,000 rows each
