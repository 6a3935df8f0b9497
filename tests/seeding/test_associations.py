"""Many-to-many relationships: a list of references is reconciled like other values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from layered_backend import SeedDataError
from layered_backend.seeding import Seeder, ref
from tests.seeding.catalogue import (
    Article,
    Catalogue,
    Category,
    Product,
    Sample,
    Story,
    Tag,
    article_categories,
    article_tags,
    related_articles,
    shipping,
)

Row = dict[str, Any]


class TagSeeder(Seeder[Tag]):
    key = (Tag.group, Tag.name)

    def rows(self) -> list[Row]:
        return [{"group": "drinks", "name": name} for name in ("hot", "cold", "new")]


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[Row]:
        return [{"name": "a"}, {"name": "b"}]


def tags(*names: str) -> list[Any]:
    return [ref(TagSeeder, "drinks", name) for name in names]


def articles(*rows: Row, model: Any = Article, **declarations: Any) -> type[Seeder[Any]]:
    return shipping(model, model.slug, rows=rows, depends_on=(TagSeeder, CategorySeeder), **declarations)


async def associated(catalogue: Catalogue) -> dict[str, set[str]]:
    """Return the names of each article's tags, past the mapper."""
    slugs = {key: slug for slug, key in await catalogue.rows(Article.slug, Article.id)}
    found: dict[str, set[str]] = {}
    for article, tag in await catalogue.rows(article_tags.c.article_id, article_tags.c.tag_name):
        found.setdefault(slugs[article], set()).add(tag)
    return found


async def seed(catalogue: Catalogue, *rows: Row, **declarations: Any) -> tuple[int, int, int]:
    report = await catalogue.seed_well(articles(*rows, **declarations), TagSeeder, CategorySeeder)
    result = report["Shipped"]
    return result.inserted, result.updated, result.unchanged


@pytest.mark.parametrize("model", [Article, Story])
async def test_associations_are_inserted_and_removed(catalogue: Catalogue, model: Any) -> None:
    tea: Row = {"slug": "tea", "tags": tags("hot", "new")}
    water: Row = {"slug": "water", "tags": []}

    assert await seed(catalogue, tea, water, model=model) == (2, 0, 0)
    assert await associated(catalogue) == {"tea": {"hot", "new"}}

    assert await seed(catalogue, tea, water, model=model) == (0, 0, 2)
    assert catalogue.statements.writes == []

    assert await seed(catalogue, tea | {"tags": tags("cold", "hot")}, water, model=model) == (0, 1, 1)
    assert await associated(catalogue) == {"tea": {"hot", "cold"}}
    assert len(catalogue.statements.writes) == 2  # one is inserted, and one deleted

    assert await seed(catalogue, tea | {"tags": []}, water | {"tags": tags("cold")}, model=model) == (0, 2, 0)
    assert await associated(catalogue) == {"water": {"cold"}}


async def test_a_row_that_leaves_it_out_leaves_it_alone(catalogue: Catalogue) -> None:
    await seed(catalogue, {"slug": "tea", "tags": tags("hot")}, {"slug": "water"})

    assert await seed(catalogue, {"slug": "tea"}, {"slug": "water", "tags": tags("cold")}) == (0, 1, 1)
    assert await associated(catalogue) == {"tea": {"hot"}, "water": {"cold"}}


async def test_it_may_be_set_once(catalogue: Catalogue) -> None:
    first = await seed(catalogue, {"slug": "tea", "tags": tags("hot")}, insert_only=(Article.tags,))
    then = await seed(catalogue, {"slug": "tea", "tags": tags("cold")}, insert_only=(Article.tags,))

    assert (first, then) == ((1, 0, 0), (0, 0, 1))
    assert await associated(catalogue) == {"tea": {"hot"}}


async def test_rows_may_refer_to_each_other_in_any_order_and_in_circles(catalogue: Catalogue) -> None:
    class ArticleSeeder(Seeder[Article]):
        key = (Article.slug,)

        def rows(self) -> list[Row]:
            return [
                {"slug": "a", "related": [ref(ArticleSeeder, "b"), ref(ArticleSeeder, "a")]},
                {"slug": "b", "related": [ref(ArticleSeeder, "a")]},
                {"slug": "c", "related": []},
            ]

    dry = await catalogue.seed_well(ArticleSeeder, dry_run=True)
    first = await catalogue.seed_well(ArticleSeeder)
    second = await catalogue.seed_well(ArticleSeeder)

    assert [report["ArticleSeeder"].inserted for report in (dry, first, second)] == [3, 3, 0]
    slugs = {key: slug for slug, key in await catalogue.rows(Article.slug, Article.id)}
    pairs = await catalogue.rows(related_articles.c.from_id, related_articles.c.to_id)
    assert sorted((slugs[one], slugs[other]) for one, other in pairs) == [("a", "a"), ("a", "b"), ("b", "a")]


async def test_the_collection_may_be_written_only(catalogue: Catalogue) -> None:
    async def names() -> list[Any]:
        ids = {key: name for name, key in await catalogue.rows(Category.name, Category.id)}
        return [ids[key] for (key,) in await catalogue.rows(article_categories.c.category_id)]

    await seed(catalogue, {"slug": "tea", "categories": [ref(CategorySeeder, "a")]})
    assert await names() == ["a"]

    assert await seed(catalogue, {"slug": "tea", "categories": [ref(CategorySeeder, "b")]}) == (0, 1, 0)
    assert await names() == ["b"]


async def test_the_other_side_may_be_shipped(catalogue: Catalogue) -> None:
    article_seeder = shipping(Article, Article.slug, rows=[{"slug": "tea"}], name="Articles")
    rows = [{"group": "drinks", "name": "hot", "articles": [ref(article_seeder, "tea")]}]
    seeder = shipping(Tag, Tag.group, Tag.name, rows=rows, depends_on=(article_seeder,))

    await catalogue.seed_well(seeder, article_seeder)

    assert await associated(catalogue) == {"tea": {"hot"}}


async def test_listeners_hear_of_it(catalogue: Catalogue) -> None:
    heard: list[str] = []

    def hear(_article: object, tag: Tag, _initiator: object) -> None:
        heard.append(tag.name)

    event.listen(Article.tags, "append", hear)
    try:
        await seed(catalogue, {"slug": "tea", "tags": tags("hot")})
    finally:
        event.remove(Article.tags, "append", hear)

    assert heard == ["hot"]


async def test_a_dry_run_tells_them_and_writes_nothing(catalogue: Catalogue) -> None:
    await seed(catalogue, {"slug": "tea", "tags": tags("hot")})

    rows = ({"slug": "tea", "kind": "article", "tags": tags("cold")}, {"slug": "water", "tags": tags("cold")})
    report = await catalogue.seed_well(articles(*rows), TagSeeder, CategorySeeder, dry_run=True)

    update, insert = sorted(report["Shipped"].changes, key=str, reverse=True)
    old, new = ([ref(TagSeeder, "drinks", name)] for name in ("hot", "cold"))
    assert str(update) == f"update slug='tea' (tags: {old} -> {new})"
    assert insert.after["tags"] == new
    assert catalogue.statements.writes == []


@pytest.mark.parametrize("model", [Article, Story])
async def test_those_of_retired_rows_go_with_them(catalogue: Catalogue, model: Any) -> None:
    await seed(catalogue, {"slug": "tea", "tags": tags("hot")}, {"slug": "water", "tags": tags("cold")}, model=model)

    report = await catalogue.seed_well(articles(model=model, retired=("tea",)), TagSeeder, CategorySeeder)

    assert report["Shipped"].deleted == 1
    assert await associated(catalogue) == {"water": {"cold"}}


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        ({"tags": ref(TagSeeder, "drinks", "hot")}, "tags", "takes a list of ref(...)"),
        ({"tags": ["hot"]}, "tags", "takes a list of ref(...)"),
        ({"tags": None}, "tags", "takes a list of ref(...)"),
        ({"tags": tags("hot", "hot")}, "tags", "the list has ref(TagSeeder, 'drinks', 'hot') twice"),
        ({"tags": tags("warm")}, "tags", "refers to a row that is neither shipped nor stored"),
        ({"tags": [ref(TagSeeder, "hot")]}, "tags", "should give group and name"),
        ({"tags": [ref(CategorySeeder, "a")]}, "tags", "ref(CategorySeeder, 'a') is no Tag"),
        ({"viewed": [ref(CategorySeeder, "a")]}, "viewed", "it is a relationship"),
    ],
)
async def test_what_is_no_such_list_is_refused(catalogue: Catalogue, value: Row, column: str, message: str) -> None:
    report = await catalogue.seed(articles({"slug": "a"}, {"slug": "b"} | value), TagSeeder, CategorySeeder)

    error = report["Shipped"].error
    assert isinstance(error, SeedDataError)
    assert (error.row, error.column) == (2, column)
    assert message in str(error)
    assert await catalogue.rows(Article.slug) == []


async def test_the_seeder_that_is_referred_to_must_come_first(catalogue: Catalogue) -> None:
    seeder = shipping(Article, Article.slug, rows=[{"slug": "a", "tags": tags("hot")}])

    report = await catalogue.seed(seeder, TagSeeder)

    assert "write depends_on = (TagSeeder,)" in str(report["Shipped"].error)


async def test_a_file_may_write_references(catalogue: Catalogue, tmp_path: Path) -> None:
    """As `{"ref": [...]}`, in columns that hold no JSON of their own."""
    (tmp_path / "tea.json").write_text(
        '[{"slug": "tea", "tags": [{"ref": ["TagSeeder", "drinks", "hot"]}]}, {"slug": "water", "tags": []}]'
    )
    (tmp_path / "tea.yaml").write_text("- {name: tea, category_id: {ref: [CategorySeeder, a]}}\n")
    (tmp_path / "bad.yaml").write_text("- {name: salt, category_id: {ref: [TagSeeder, a]}}\n")

    class Shipped(Seeder[Article]):
        key = (Article.slug,)
        depends_on = (TagSeeder,)

        def rows(self) -> Any:
            return self.from_file(tmp_path / "tea.json")

    class Products(Seeder[Product]):
        key = (Product.name,)
        depends_on = (CategorySeeder,)

        def rows(self) -> Any:
            return self.from_file(tmp_path / "tea.yaml")

    class Bad(Products):
        def rows(self) -> Any:
            return self.from_file(tmp_path / "bad.yaml")

    data = {"code": "a", "data": {"ref": ["TagSeeder"]}}
    samples = shipping(Sample, Sample.code, rows=[data], name="Samples")

    await catalogue.seed_well(Shipped, Products, samples, TagSeeder, CategorySeeder)
    report = await catalogue.seed(Bad, CategorySeeder)

    assert await associated(catalogue) == {"tea": {"hot"}}
    category_ids = dict(await catalogue.rows(Category.name, Category.id))
    assert await catalogue.rows(Product.category_id) == [(category_ids["a"],)]
    assert await catalogue.rows(Sample.data) == [(data["data"],)]
    assert "'TagSeeder' is no seeder that Bad depends on" in str(report["Bad"].error)
