"""The tests that the page about testing shows."""

from pathlib import Path

import pytest

from tests.docs.fences import blocks_of

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    blocks = [
        block.code
        for block in blocks_of(PAGE.read_text())
        if block.language == "python" and "\nawait " not in block.code
    ]
    assert len(blocks) > 7
    pytester.makepyfile(test_page="\n".join(blocks))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")

    result = pytester.runpytest_subprocess("-p", "pytest_layered_backend", "-p", "no:schemathesis")

    result.assert_outcomes(passed=7)
