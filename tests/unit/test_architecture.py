"""The documentation and the contract of import-linter name the same layers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_and_the_contract_name_the_same_layers_in_the_same_order() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract, *_ = project["tool"]["importlinter"]["contracts"]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.search(r"```text\n(cli.*?)```", page, re.DOTALL)
    assert named is not None

    layers = [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    assert [set(re.findall(r"\w+", layer)) for layer in named[1].split("->")] == [
        layer for layer in layers if layer != {"__main__"}
    ]
