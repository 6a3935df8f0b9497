"""Bad input: an error that names the place, and nothing of that seeder written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layered_backend import SeedDataError, SeedReferenceError
from layered_backend.seeding import Seeder, SeedStatus, ref
from tests.seeding.catalogue import Catalogue, Category, Label, Product, Sample, shipping

Row = dict[str, Any]
GOOD = {"name": "good"}


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[Row]:
        return [{"name": "drinks"}]


async def error_of(catalogue: Catalogue, *seeders: Any) -> SeedDataError:
    """Run seeders of which "Shipped" fails, and return its error; another one is done all the same."""
    labels = shipping(Label, Label.text, rows=[{"text": "beside"}], name="Beside")
    report = await catalogue.seed(*seeders, labels)
    assert not report.ok
    result = report["Shipped"]
    assert (result.status, result.inserted, report["Beside"].status) == (SeedStatus.FAILED, 0, SeedStatus.DONE)
    assert await catalogue.rows(Product.name) == await catalogue.rows(Sample.code) == []
    assert await catalogue.rows(Label.text) == [("beside",)]
    assert isinstance(result.error, SeedDataError), result.error
    return result.error


@pytest.mark.parametrize(
    ("rows", "row", "column", "message"),
    [
        ([GOOD, {"note": "x"}], 2, "name", "part of the key"),
        ([GOOD, {"name": "b"}, GOOD], 3, None, "row 1 has the same key"),
        ([GOOD, {"name": "b", "nmae": "x"}], 2, "nmae", "did you mean 'name'"),
        ([GOOD, {"name": "b", "category": 1}], 2, "category", "it is a relationship; set its foreign key"),
        ([GOOD, {"name": 5}], 2, "name", "takes text (in a file, put it in quotes), not int (5)"),
        ([GOOD, {"name": "b", "price": "much"}], 2, "price", "takes a decimal number, not str ('much')"),
        ([GOOD, {"name": "b", "price": None}], 2, "price", "may not be empty"),
        ([GOOD, {"name": "b", "position": 1.5}], 2, "position", "takes a whole number"),
        ([GOOD, {"name": "b", "position": 10**30}], 2, "position", "too large"),
        ([GOOD, {"name": "b", "created_at": "2024-02-29T12:00"}], 2, "created_at", "with its offset from UTC"),
        ([GOOD, {"name": "\ud800"}], 2, "name", "a character that the database cannot store"),
        ([GOOD, "name"], 2, None, "a row is a mapping or a Pydantic model, not str"),
        (GOOD, None, None, "rows() returned dict"),
        (None, None, None, "rows() returned nothing"),
    ],
)
async def test_the_place_is_named(
    catalogue: Catalogue, rows: Any, row: int | None, column: str | None, message: str
) -> None:
    error = await error_of(catalogue, shipping(Product, Product.name, rows=rows))

    assert (error.seeder, error.row, error.column) == ("Shipped", row, column)
    assert message in str(error)


@pytest.mark.parametrize(
    ("values", "column", "message"),
    [
        ({"code": "much too long"}, "code", "longer than 8 characters"),
        ({"code": "b", "amount": "1.005"}, "amount", "more than 2 digits behind the point"),
        ({"code": "b", "amount": 10**6}, "amount", "more than 6 digits before the point"),
        ({"code": "b", "is_good": "maybe"}, "is_good", "takes true or false"),
        ({"code": "b", "color": "BLUE"}, "color", "takes a Color (RED, GREEN)"),
        ({"code": "b", "day": "today"}, "day", "takes a date, as of ISO 8601"),
    ],
)
async def test_a_value_that_would_not_come_back_is_refused(
    catalogue: Catalogue, values: Row, column: str, message: str
) -> None:
    error = await error_of(catalogue, shipping(Sample, Sample.code, rows=[{"code": "a"}, values]))

    assert (error.row, error.column) == (2, column)
    assert message in str(error)


async def test_of_rows_that_the_database_refuses_the_first_is_named(catalogue: Catalogue) -> None:
    rows = [{"name": f"p{number}", "position": number} for number in range(50)]
    rows[33]["position"] = 7

    error = await error_of(catalogue, shipping(Product, Product.name, rows=rows))

    assert (error.row, error.key) == (34, "name='p33'")
    assert "another row already has the same position" in str(error)


async def test_a_reference_to_nothing_is_named(catalogue: Catalogue) -> None:
    rows = [GOOD, {"name": "b", "category_id": ref(CategorySeeder, "toys")}]
    seeder = shipping(Product, Product.name, rows=rows, depends_on=(CategorySeeder,))

    error = await error_of(catalogue, seeder, CategorySeeder)

    assert isinstance(error, SeedReferenceError)
    assert (error.row, error.column) == (2, "category_id")
    assert "ref(CategorySeeder, 'toys') refers to a row that is neither shipped nor stored" in str(error)


async def test_a_reference_past_the_dependencies_tells_the_line_to_add(catalogue: Catalogue) -> None:
    rows = [{"name": "b", "category_id": ref(CategorySeeder, "drinks")}]

    error = await error_of(catalogue, CategorySeeder, shipping(Product, Product.name, rows=rows))

    assert "write depends_on = (CategorySeeder,)" in str(error)


async def test_a_reference_to_a_row_of_its_own_seeder_must_be_there(catalogue: Catalogue) -> None:
    class Shipped(Seeder[Product]):
        key = (Product.name,)

        def rows(self) -> Iterator[Row]:
            yield GOOD
            yield {"name": "b", "position": ref(Shipped, "c")}

    error = await error_of(catalogue, Shipped)

    assert (error.row, error.column) == (2, "position")


async def test_a_key_that_several_stored_rows_have_is_refused(catalogue: Catalogue) -> None:
    await catalogue.add(Label(text="x", note="a"), Label(text="x", note="b"))

    report = await catalogue.seed(shipping(Label, Label.text, rows=[{"text": "x", "note": "c"}]))

    assert "several stored rows have the key text='x'" in str(report["Shipped"].error)
    assert await catalogue.rows(Label.note) == [("a",), ("b",)]


async def test_a_row_that_is_both_shipped_and_retired_is_refused(catalogue: Catalogue) -> None:
    error = await error_of(catalogue, shipping(Product, Product.name, rows=[GOOD], retired=("good",)))

    assert (error.row, error.key) == (1, "name='good'")


async def test_what_rows_raise_is_the_error(catalogue: Catalogue) -> None:
    class Shipped(Seeder[Product]):
        key = (Product.name,)

        def rows(self) -> Iterator[Row]:
            yield GOOD
            raise LookupError("no such thing")

    report = await catalogue.seed(Shipped)

    assert isinstance(report["Shipped"].error, LookupError)
    assert await catalogue.rows(Product.name) == []


class TestFiles:
    @pytest.mark.parametrize(
        ("file", "place", "message"),
        [
            (("rows.json", '[{"name": "good"}, {"name": "b"'), (None, None), "is no JSON, or was cut short"),
            (("rows.json", '{"name": "good"}'), (None, None), "is not a list of rows"),
            (("rows.json", '[{"name": "good"}, 5]'), (2, None), "is not made of names and values"),
            (("rows.jsonl", '{"name": "good"}\n\n{"name": "b'), (2, None), "is no JSON, or was cut short"),
            (("rows.csv", "name,note\ngood,x\nb"), (2, None), "has 1 cells, and the header 2"),
            (("rows.csv", 'name,note\ngood,x\nb,"y'), (2, None), "is no CSV, or was cut short"),
            (("rows.csv", "name,name\ngood,x"), (None, "name"), "names the column twice"),
            (("rows.csv", ""), (None, None), "the file is empty"),
            (("rows.csv", "name,position\ngood,\nb,x"), (2, "position"), "takes a whole number"),
            (("rows.yaml", "- name: good\n- name: ["), (None, None), "is no YAML, or was cut short"),
            (
                ("rows.yaml", "- name: good\n- name: no"),
                (2, "name"),
                "takes text (in a file, put it in quotes), not bool",
            ),
            (("rows.txt", "good"), (None, None), "rows come from .json, .jsonl, .ndjson, .csv, .yaml, .yml"),
            (("missing.csv", None), (None, None), "the file cannot be read (No such file or directory)"),
        ],
    )
    async def test_the_file_is_named(
        self, catalogue: Catalogue, tmp_path: Path, file: tuple[str, str | None], place: tuple[int | None, str | None],
        message: str,
    ) -> None:  # fmt: skip
        name, text = file
        path = tmp_path / name
        if text is not None:
            path.write_text(text)

        class Shipped(Seeder[Product]):
            key = (Product.name,)

            def rows(self) -> Any:
                return self.from_file(path)

        error = await error_of(catalogue, Shipped)

        assert (error.seeder, error.source, (error.row, error.column)) == ("Shipped", name, place)
        assert message in str(error)

    async def test_a_file_that_is_not_utf_8(self, catalogue: Catalogue, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_bytes("name\ncafé".encode("latin-1"))

        class Shipped(Seeder[Product]):
            key = (Product.name,)

            def rows(self) -> Any:
                return self.from_file(path)

        assert "not written in UTF-8" in str(await error_of(catalogue, Shipped))

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("rows.json", '[{"name": "tea", "price": 2.5, "note": null}, {"name": "é", "price": "3", "note": ""}]'),
            ("rows.jsonl", '{"name": "tea", "price": 2.5, "note": null}\n{"name": "é", "price": 3, "note": ""}\n'),
            ("rows.csv", '\ufeffname,price\r\ntea,2.5\r\n"é",3\r\n'),
            ("rows.yml", "- {name: tea, price: 2.5, note: null}\n- {name: é, price: 3, note: ''}\n"),
        ],
    )
    async def test_a_good_file_is_read(self, catalogue: Catalogue, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text, encoding="utf-8")

        class Shipped(Seeder[Product]):
            key = (Product.name,)

            def rows(self) -> Any:
                return self.from_file(tmp_path / name)

        await catalogue.seed_well(Shipped)

        assert (await catalogue.seed_well(Shipped))["Shipped"].unchanged == 2
        assert [(name, str(price)) for name, price in await catalogue.rows(Product.name, Product.price)] == [
            ("tea", "2.5"), ("é", "3"),
        ]  # fmt: skip
