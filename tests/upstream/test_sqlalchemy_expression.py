"""What SQLAlchemy does not document of expressions, and what follows where it is gone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ColumnElement, Select, column, exists, func, select, table

from layered_backend import UnsupportedVersionError
from layered_backend.upstream.sqlalchemy import expression as seam
from layered_backend.upstream.sqlalchemy.expression import SortModifiers, is_correlated, split_sort_modifiers, verify
from layered_backend.upstream.verification import Undocumented

_PRICE: ColumnElement[Any] = column("price")


@pytest.mark.parametrize(
    ("expression", "modifiers"),
    [
        (_PRICE, SortModifiers(False, None)),
        (_PRICE.asc(), SortModifiers(False, None)),
        (_PRICE.desc(), SortModifiers(True, None)),
        (_PRICE.nulls_first(), SortModifiers(False, True)),
        (_PRICE.desc().nulls_last(), SortModifiers(True, False)),
        (_PRICE.asc().nulls_first(), SortModifiers(False, True)),
    ],
    ids=str,
)
def test_a_sort_is_taken_apart(expression: ColumnElement[Any], modifiers: SortModifiers) -> None:
    assert split_sort_modifiers(expression) == (_PRICE, modifiers)


def test_an_operator_that_is_no_direction_stays() -> None:
    negative = -_PRICE

    element, modifiers = split_sort_modifiers(negative.desc())

    assert element is negative
    assert modifiers.is_descending


def test_a_function_is_sorted_by_as_it_is() -> None:
    lower = func.lower(_PRICE)

    assert split_sort_modifiers(lower.desc())[0] is lower


_TABLE, _OTHER = table("one", column("id")), table("other", column("id"))
_SUBQUERY = select(_TABLE.c.id).where(_TABLE.c.id == _OTHER.c.id)


@pytest.mark.parametrize(
    ("subquery", "sources"),
    [
        (_SUBQUERY.correlate(_OTHER), "one"),
        (_SUBQUERY.correlate_except(_TABLE), "one"),
        (_SUBQUERY.correlate(None), "one, other"),
    ],
    ids=["correlate", "correlate_except", "nothing"],
)
def test_a_subquery_says_which_tables_are_those_around_it(subquery: Select[Any], sources: str) -> None:
    assert is_correlated(subquery, _TABLE) is ("one" not in sources)
    assert is_correlated(subquery, _OTHER) is ("other" not in sources)
    statement = select(_TABLE.c.id, _OTHER.c.id).where(exists(subquery))
    assert f"FROM {sources} \nWHERE" in str(statement), "SQLAlchemy has another answer"


def test_a_subquery_that_says_nothing_reads_the_tables_around_it() -> None:
    assert is_correlated(_SUBQUERY, _OTHER)


def test_what_pages_rest_on_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    verify()

    monkeypatch.setattr(seam, "_USES", (Undocumented(_PRICE.desc(), "gone"),))
    with pytest.raises(UnsupportedVersionError, match=r"has no UnaryExpression\.gone, "):
        verify()
