"""The page for contributors and the docstrings of the seam say the same."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.upstream.page import PAGE, entries_of, modules, parts_of, written


def test_the_page_lists_all_that_the_seam_uses() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run python -m tests.upstream.page"


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__.rpartition(".")[2])
def test_each_function_says_what_it_uses_and_what_follows_if_that_goes(module: ModuleType) -> None:
    said = {name: parts_of(each.__doc__ or "") for name, each in entries_of(module).items()}
    incomplete = [name for name, (uses, follows) in said.items() if uses and not follows]

    assert not incomplete, "end the second paragraph of the docstring with a sentence that begins with `Without it`"


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
