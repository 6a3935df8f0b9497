"""The page for contributors and the docstrings of the seam say the same."""

from __future__ import annotations

from tests.upstream.page import PAGE, SUPPORTING, modules, named_in_tests, parts_of, said_by_name, written


def test_the_page_lists_all_that_the_seam_uses() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run python -m tests.upstream.page"


def test_each_function_says_what_it_uses_and_what_follows_if_that_goes() -> None:
    said = said_by_name()
    incomplete = [name for name in _entries() - {*SUPPORTING} if not all(said[name])]

    assert not incomplete, "end the second paragraph of the docstring with a sentence that begins with `Without it`"


def test_what_does_not_say_it_names_what_does() -> None:
    said = said_by_name()

    assert {*SUPPORTING} <= _entries()
    assert [name for name in SUPPORTING if said[name][1]] == [], "it says it itself, and need not be excused"
    assert [name for name in SUPPORTING.values() if not all(said[name])] == []


def test_each_function_is_named_in_a_test_of_the_seam() -> None:
    unnamed = sorted(_entries() - named_in_tests())

    assert not unnamed, "write a test of what it does in tests/upstream"


def _entries() -> set[str]:
    places = {module.__name__.removeprefix("layered_backend.upstream.") for module in modules()}
    return {*said_by_name()} - places


def test_a_docstring_is_taken_apart() -> None:
    docstring = """Do it.

    It calls `Owner._name`. The public
    `name` waits. Without it nothing is done.

    Args:
        value: Which.
    """

    assert parts_of(docstring) == ("It calls `Owner._name`. The public `name` waits.", "Without it nothing is done.")
    assert parts_of("Do it.\n\nAttributes:\n    name: Which.") == ("", "")
    assert parts_of("Do it.\n\nIt calls `Owner._name`.") == ("It calls `Owner._name`.", "")
