"""The tools, without anything around them."""

import time
from contextlib import suppress

import pytest

from examples.executions import schemas
from examples.executions.tools import TOOLS, ToolError, use

TEXT = "The cat sat on the mat. Cats like mats, and the mat likes the cat! A dog walked 5 km, didn't it?"


@pytest.mark.parametrize(
    ("function", "parameters", "output"),
    [
        ("count_words", {}, "21 words, 3 sentences, 96 characters"),
        ("extract_keywords", {"count": 2}, "cat, mat"),
        ("summarise", {"sentences": 1}, "Cats like mats, and the mat likes the cat!"),
        ("measure_readability", {}, "reading ease 107 of 100"),
        ("convert_units", {}, TEXT.replace("5 km", "3.107 mi")),
        ("describe_text", {"longest": 2}, "3.3 letters a word, 16 different words, longest: didn't, walked"),
        ("tidy", {}, TEXT),
    ],
)
def test_what_they_make_of_a_text(function: str, parameters: dict[str, int], output: str) -> None:
    assert use(function, TEXT, parameters) == output


def test_units_go_both_ways_and_what_is_no_quantity_stays() -> None:
    converted = use("convert_units", "10 mi, 3 ft, 2.5kg, 100 m, 3m2, v1.5 km/h, 7 min", {})

    assert converted == "16.09 km, 0.9144 m, 5.512 lb, 328.1 ft, 3m2, v1.5 km/h, 7 min"


def test_blanks_are_tidied() -> None:
    assert use("tidy", "  one \n two ,three . ", {}) == "one two,three."


def test_parameters_that_a_tool_does_not_have_are_for_others() -> None:
    assert use("count_words", "one two", {"sentences": 3}) == "2 words, 1 sentences, 7 characters"


@pytest.mark.parametrize(
    ("function", "text", "parameters", "reason"),
    [
        ("measure_readability", "1 2 3", {}, "there are no words to read"),
        ("describe_text", "...", {}, "there are no words to describe"),
        ("convert_units", "nothing", {}, "there is no length or weight to convert"),
        ("tidy", "x" * 15_001, {}, "the text has more than 15,000 characters"),
        ("no_such", "nothing", {}, "there is no function called no_such"),
    ],
)
def test_what_they_cannot_do_they_say(function: str, text: str, parameters: dict[str, int], reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        use(function, text, parameters)


@pytest.mark.parametrize(
    "text", [" " * 10_000, "a" * 10_000, "1" * 10_000, "." * 10_000, "a'" * 5_000, "1." * 5_000, "a b. " * 2_000]
)
@pytest.mark.parametrize("function", TOOLS)
def test_no_text_keeps_them_busy_for_long(function: str, text: str) -> None:
    begun = time.process_time()
    with suppress(ToolError):
        use(function, text, {})

    assert time.process_time() - begun < 5  # seconds; one that is quadratic takes minutes


def test_a_row_can_name_each_of_them() -> None:
    for function in TOOLS:
        schemas.ToolCreate.model_validate({"name": "a tool", "function": function})
