"""The time limit that each test of this repository has."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).parents[2]

HANGING = """
import asyncio
import itertools

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

pytestmark = pytest.mark.time_limit(1, moment=2)


async def test_ignores_cancellation():
    async def wait_in_a_task():
        while True:
            try:
                await greenlet_spawn(wait_in_a_greenlet)
            except BaseException:
                pass

    def wait_in_a_greenlet():
        await_only(asyncio.sleep(1000))

    await asyncio.create_task(wait_in_a_task())


def test_loops_in_c():
    sum(itertools.repeat(1))


def test_is_short():
    pass
"""


@pytest.mark.slow
def test_a_test_that_hangs_ends_with_its_process_and_all_stacks(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest('pytest_plugins = ["tests.time_limits"]')
    pytester.makepyfile(HANGING)

    # One process: two that end at the same time would write their stacks into each other's.
    result = pytester.runpytest_subprocess("-p", "xdist.plugin", "-p", "pytest_asyncio.plugin", "-n", "1")

    result.assert_outcomes(passed=1, failed=2)
    printed = result.stderr.str()
    for name in ("wait_in_a_task", "wait_in_a_greenlet", "test_loops_in_c"):
        assert f"in {name}" in printed, printed
