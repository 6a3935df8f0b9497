"""What SQLAlchemy does not document of expressions, and what follows where it is gone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ColumnElement, column, func

from layered_backend import UnsupportedVersionError
from layered_backend.upstream.sqlalchemy import expression as seam
from layered_backend.upstream.sqlalchemy.expression import SortModifiers, split_sort_modifiers, verify
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


def test_what_pages_rest_on_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    verify()

    monkeypatch.setattr(seam, "_USES", (Undocumented(_PRICE.desc(), "gone"),))
    with pytest.raises(UnsupportedVersionError, match=r"has no UnaryExpression\.gone, "):
        verify()
