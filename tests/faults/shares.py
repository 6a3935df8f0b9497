"""A plugin of pytest: of the tests that were collected, this process runs only its share.

LAYERED_TEST_SHARE=0/3 pytest -p tests.faults.shares
"""

from __future__ import annotations

import os
from importlib import import_module

import pytest

import_module("hypothesis")  # its plugin does so at the end, which Python 3.11 may refuse then: python/cpython#106905


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, shares = map(int, os.environ["LAYERED_TEST_SHARE"].split("/"))
    others = [item for index, item in enumerate(items) if index % shares != number]
    config.hook.pytest_deselected(items=others)
    items[:] = items[number::shares]
