from __future__ import annotations

import re
from pathlib import Path

import pytest

from layered_backend.accelerators import deferred_begin
from layered_backend.accelerators.deferred_begin import only_reads

PAGE = Path(__file__).parents[2] / "docs" / "accelerators.md"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT items.id FROM items WHERE items.id = $1::INTEGER",
        "SELECT count(*) AS count_1 FROM items",
        "SELECT items.id \nFROM items \nWHERE items.id IN ($1::INTEGER, $2::INTEGER) ORDER BY items.id LIMIT $3::INTEGER",
        "SELECT 1 AS anon_1 FROM items WHERE (EXISTS (SELECT 1 FROM categories WHERE lower(categories.name) LIKE lower($1)))",
        "SELECT items.id FROM items WHERE (items.price, items.id) > ($1::NUMERIC, $2::INTEGER)",
        "SELECT items.id FROM items /*controller='items',route='%2Fitems%2F%28id%29',traceparent='00-5bd6-01'*/",
        "SELECT items.current_price FROM items WHERE items.localtimestamps = 1",
    ],
)
def test_a_query_of_sql_itself_only_reads(statement: str) -> None:
    assert only_reads(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO items (name) VALUES ($1)",
        "WITH gone AS (DELETE FROM items RETURNING id) SELECT id FROM gone",
        "SELECT items.id FROM items WHERE items.id = $1::INTEGER FOR UPDATE",
        "SELECT items.id FROM items \nFOR NO KEY UPDATE SKIP LOCKED",
        "SELECT items.id INTO copies FROM items",
        "SELECT pg_advisory_xact_lock($1::BIGINT)",
        "SELECT nextval('items_id_seq')",
        "SELECT pg_catalog.set_config('a', 'b', true)",
        'SELECT "my function"(1)',
        "SELECT items.id FROM items WHERE items.price > shop.lower(items.id)",
        "SELECT count (*), audit\n(1) FROM items",
        "select 1",
        "SET LOCAL statement_timeout = 1",
        "SAVEPOINT sa_savepoint_1",
        "SELECT 1; DELETE FROM items",
        "SELECT audit/**/(1)",
        "SELECT audit --\n(1)",
        "SELECT audit€(1)",
        "SELECT audit(1) /*route='x'*/",
        "SELECT ' /*', audit(1) /*route='x'*/",
        "SELECT $$ /* $$, audit(1) -- */",
        "SELECT items.id FROM items /* a */ /* b */",
        "SELECT items.id FROM items FOR UPDATE /*route='x'*/",
        "SELECT CURRENT_TIMESTAMP",
        "SELECT current_date FROM items",
        "SELECT LOCALTIME",
        "SELECT items.id FROM items WHERE items.at < LocalTimestamp",
        "SELECT CURRENT_USER",
        "SELECT TIMESTAMP 'now'",
        "SELECT items.id FROM items WHERE items.at > CAST(' Today' AS DATE)",
        r"SELECT E'\x6eow'::TIMESTAMP",
        "SELECT shop . lower(items.name) FROM items",
        "SELECT shop.\nlower(items.name) FROM items",
        "SELECT \N{LATIN SMALL LETTER LONG S}um(items.id) FROM items",
        "SELECT m\N{LATIN SMALL LETTER DOTLESS I}n(items.id) FROM items",
        """SELECT U&"audit" UESCAPE '!' (1)""",
        "SELECT items.id FROM items WHERE items.id = 1FOR UPDATE",
        "SELECT 1INTO copies",
    ],
)
def test_all_else_may_write_or_lock(statement: str) -> None:
    assert not only_reads(statement)


def test_the_page_lists_the_names_before_a_parenthesis_and_the_words_that_need_begin() -> None:
    page = PAGE.read_text()
    names, words = (
        {*re.findall(r"`([A-Z_]+)`", page.partition(begin)[2].partition(end)[0])}
        for begin, end in (("Each name before", "Every other"), ("none of these words", "- Its text"))
    )

    assert names == vars(deferred_begin)["_HARMLESS"]
    assert len(words) == 16
    assert [word for word in words if only_reads(f"SELECT 1 {word}")] == []
