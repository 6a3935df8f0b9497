"""Exports: the rows of a table as a seed file that makes the same rows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from layered_backend import SeedDataError
from layered_backend.errors import SeedPlanError
from layered_backend.seeding import Seeder, SeedRunner, ref
from layered_backend.seeding.files import text_of
from tests.databases import ASYNC_BACKENDS
from tests.seeding.catalogue import (
    Article,
    Catalogue,
    Category,
    Color,
    Label,
    Node,
    Person,
    Product,
    Sample,
    Tag,
)
from tests.seeding.counted import Entry, Review, Ticket

Row = dict[str, Any]
pytestmark = pytest.mark.parametrize("catalogue", ASYNC_BACKENDS, indirect=True, ids=str)


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> Iterator[Row]:
        yield {"name": "drinks"}


class ProductSeeder(Seeder[Product]):
    key = (Product.name,)
    depends_on = (CategorySeeder,)

    def rows(self) -> Iterator[Row]:
        yield {"name": "tea", "price": "2.5", "category_id": ref(CategorySeeder, "drinks"), "note": "no"}
        yield {"name": "salt", "price": 1, "category_id": None, "position": 7}


class NodeSeeder(Seeder[Node]):
    key = (Node.parent_id, Node.name)

    def rows(self) -> Iterator[Row]:
        yield {"parent_id": None, "name": "root"}
        yield {"parent_id": ref(NodeSeeder, None, "root"), "name": "left"}
        yield {"parent_id": ref(NodeSeeder, ref(NodeSeeder, None, "root"), "left"), "name": "leaf"}


class TagSeeder(Seeder[Tag]):
    key = (Tag.group, Tag.name)

    def rows(self) -> Iterator[Row]:
        yield from ({"group": "drinks", "name": name} for name in ("hot", "cold"))


class ArticleSeeder(Seeder[Article]):
    key = (Article.slug,)
    depends_on = (TagSeeder, CategorySeeder)

    def rows(self) -> Iterator[Row]:
        hot, cold = (ref(TagSeeder, "drinks", name) for name in ("hot", "cold"))
        yield {"slug": "tea", "tags": [hot, cold], "related": [ref(ArticleSeeder, "water")]}
        yield {"slug": "water", "categories": [ref(CategorySeeder, "drinks")]}


class SampleSeeder(Seeder[Sample]):
    key = (Sample.code,)

    def rows(self) -> Iterator[Row]:
        moment = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
        yield {"code": "007", "data": {"ref": [1, None]}, "ratio": 0.1, "amount": Decimal("1.50"), "is_good": True}
        yield {"code": "no", "taken": moment.replace(tzinfo=None), "seen": moment, "day": date(2024, 2, 29)}
        yield {"code": "null", "color": Color.GREEN, "data": ["é", "\u2028", {}]}


class PersonSeeder(Seeder[Person]):
    key = (Person.code,)

    def rows(self) -> list[Row]:
        return []


class ReviewSeeder(Seeder[Review]):
    key = (Review.name,)

    def rows(self) -> Iterator[Row]:
        yield {"id": 9, "name": "b", "previous_id": ref(ReviewSeeder, "a")}
        yield {"name": "a"}


class TicketSeeder(Seeder[Ticket]):
    key = (Ticket.id,)

    def rows(self) -> Iterator[Row]:
        yield from ({"id": number, "name": f"{number}"} for number in (10, 9))


SEEDERS = (
    CategorySeeder, ProductSeeder, NodeSeeder, TagSeeder, ArticleSeeder, SampleSeeder, PersonSeeder,
    ReviewSeeder, TicketSeeder,
)  # fmt: skip


def from_files(folder: Path, suffix: str) -> list[type[Seeder[Any]]]:
    """Return seeders of the same names that read what was exported."""
    made: dict[Any, Any] = {}
    for seeder in SEEDERS:

        def rows(self: Any, name: str = seeder.name) -> Any:
            return self.from_file(folder / f"{name}{suffix}")

        depends_on = tuple(made[each] for each in seeder.depends_on)
        made[seeder] = type(seeder.name, (seeder,), {"rows": rows, "depends_on": depends_on})
    return list(made.values())


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".yaml"])
async def test_what_is_exported_makes_the_same_rows_elsewhere(
    catalogue: Catalogue, tmp_path: Path, suffix: str
) -> None:
    """And elsewhere the same is exported again, to the letter."""
    await catalogue.seed_well(*SEEDERS)
    runner = SeedRunner(SEEDERS, database=catalogue.database)
    texts = {seeder.name: text_of(await runner.export(seeder), suffix) for seeder in SEEDERS}
    for name, text in texts.items():
        (tmp_path / f"{name}{suffix}").write_text(text, encoding="utf-8")
    seeders = from_files(tmp_path, suffix)

    here = await catalogue.seed_well(*seeders)
    await empty(catalogue)
    elsewhere = await catalogue.seed_well(*seeders)

    assert {result.name: (result.inserted, result.updated) for result in here.results} == dict.fromkeys(texts, (0, 0))
    assert [result.inserted for result in elsewhere.results] == [result.unchanged for result in here.results]
    runner = SeedRunner(seeders, database=catalogue.database)
    assert {seeder.name: text_of(await runner.export(seeder), suffix) for seeder in seeders} == texts


async def empty(catalogue: Catalogue) -> None:
    """Delete all rows, and count keys on, so that no row gets the key that it had."""
    for metadata in (Category.metadata, Entry.metadata):
        tables = metadata.sorted_tables

        async def delete_all(uow: Any, tables: Any = tables) -> None:
            for table in reversed(tables):
                if table.name == "nodes":
                    for name in ("leaf", "left", "root"):
                        await uow.session.execute(table.delete().where(table.c.name == name))
                if table.name == "entries":
                    await uow.session.execute(table.update().values(previous_id=None))
                await uow.session.execute(table.delete())

        await catalogue.do(delete_all)


async def test_natural_keys_stand_in_place_of_foreign_keys(catalogue: Catalogue) -> None:
    await catalogue.seed_well(*SEEDERS)
    runner = SeedRunner(SEEDERS, database=catalogue.database)

    assert await runner.export("ProductSeeder") == [
        {"name": "salt", "price": "1", "note": None, "position": 7, "category_id": None},
        {
            "name": "tea", "price": "2.5", "note": "no", "position": None,
            "category_id": {"ref": ["CategorySeeder", "drinks"]},
        },
    ]  # fmt: skip
    root = {"ref": ["NodeSeeder", None, "root"]}
    assert await runner.export(NodeSeeder) == [
        {"parent_id": None, "name": "root"},
        {"parent_id": root, "name": "left"},
        {"parent_id": {"ref": ["NodeSeeder", root, "left"]}, "name": "leaf"},
    ]
    assert await runner.export("ArticleSeeder", without=["categories"]) == [
        {
            "slug": "tea",
            "tags": [{"ref": ["TagSeeder", "drinks", "cold"]}, {"ref": ["TagSeeder", "drinks", "hot"]}],
            "related": [{"ref": ["ArticleSeeder", "water"]}],
        },
        {"slug": "water", "tags": [], "related": []},
    ]
    assert await runner.export("TicketSeeder") == [{"id": 9, "name": "9"}, {"id": 10, "name": "10"}]
    assert await runner.export("ReviewSeeder") == [
        {"name": "a", "previous_id": None}, {"name": "b", "previous_id": {"ref": ["ReviewSeeder", "a"]}},
    ]  # fmt: skip


class AloneSeeder(Seeder[Product]):
    key = (Product.name,)

    def rows(self) -> list[Row]:
        return []


class LabelSeeder(Seeder[Label]):
    key = (Label.text,)

    def rows(self) -> list[Row]:
        return []


class EntrySeeder(Seeder[Entry]):
    key = (Entry.name,)

    def rows(self) -> list[Row]:
        return []


@pytest.mark.parametrize(
    ("seeder", "message"),
    [
        (AloneSeeder, "it refers to categories, of which AloneSeeder depends on no seeder"),
        (LabelSeeder, "several stored rows have the key"),
        (EntrySeeder, "the row is of the class Review"),
    ],
)
async def test_what_a_file_cannot_say_is_refused(catalogue: Catalogue, seeder: Any, message: str) -> None:
    await catalogue.seed_well(ProductSeeder, CategorySeeder, ReviewSeeder)
    await catalogue.add(Label(text="x"), Label(text="x"))

    with pytest.raises(SeedDataError, match=message):
        await SeedRunner([seeder], database=catalogue.database).export(seeder)


async def test_an_attribute_may_be_left_out_and_nothing_else(catalogue: Catalogue) -> None:
    await catalogue.seed_well(ProductSeeder, CategorySeeder)
    runner = SeedRunner([AloneSeeder, CategorySeeder], database=catalogue.database)

    rows = await runner.export("AloneSeeder", without=["category_id", "note", "position"])

    assert rows == [{"name": "salt", "price": "1"}, {"name": "tea", "price": "2.5"}]
    for name in ("name", "prise"):
        with pytest.raises(SeedPlanError, match=f"{name} is no attribute of AloneSeeder that can be left out"):
            await runner.export("AloneSeeder", without=[name])
    with pytest.raises(SeedPlanError, match="did you mean AloneSeeder"):
        await runner.export("AlonSeeder")


async def test_rows_of_a_key_that_nothing_makes_keep_it(catalogue: Catalogue) -> None:
    """A foreign key to itself, of text, is a reference all the same."""
    await catalogue.add(Person(code="a", mentor_code="a"), Person(code="b", boss_code="a", mentor_code="a"))

    rows = await SeedRunner([PersonSeeder], database=catalogue.database).export("PersonSeeder")

    a = {"ref": ["PersonSeeder", "a"]}
    assert rows == [
        {"code": "a", "boss_code": None, "mentor_code": a}, {"code": "b", "boss_code": a, "mentor_code": a},
    ]  # fmt: skip
