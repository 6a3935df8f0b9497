"""Every fenced block of the pages and of the README is tested; there is no skip list.

- `python`: the blocks of a page run in order as one module, in a process and a directory of their own (`run_page.py`),
  with warnings as errors and nothing written to standard error.
- `sh`, `console`: runs in a copy of the repository, all `sh` of a page in one shell; a console prints what stands there.
  Those of the README and of CONTRIBUTING are not run but looked up, since they set up whole environments, this one among
  them, and CI runs them as they stand: the script of `hatch run env:script` must be in pyproject.toml, and so must what
  `pip install` names: the extras of this package, its dependencies, the tools that are configured there. Any other command
  there fails.
- `json`, `toml`: parses.
- `text`, `mermaid`: is not code. Any other language fails.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.docs.fences import Block, blocks_of

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SET_UP = (README, ROOT / "CONTRIBUTING.md")
PAGES = sorted((*(ROOT / "docs").glob("**/*.md"), *SET_UP))
TIME_LIMIT = 120  # seconds, for one page or one block

_FIRST_ON_PATH = f'PATH="{Path(sys.executable).parent}:$PATH"'  # `python` is the one that runs the tests
_REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(?:\[(?P<extras>[\w,-]+)\])?")
_LINK = re.compile(r"\]\((?P<target>[^)#:\s]+)(?:#[^)\s]*)?\)")


def _blocks(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks_of(page.read_text(encoding="utf-8")) if block.language in languages]


def _run(command: Sequence[str], directory: Path) -> str:
    """Run *command*, and return what it prints; it must succeed, and complain of nothing."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def _run_page(page: Path, directory: Path) -> None:
    _run([sys.executable, "-W", "error", "-m", "tests.docs.run_page", str(page)], directory)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_as_one_module(page: Path, tmp_path: Path) -> None:
    _run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_shell_commands_of_a_page_run_in_a_copy_of_the_repository(page: Path, tmp_path: Path) -> None:
    blocks = _blocks(page, "sh", "console")
    if page in SET_UP:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert [command for block in blocks for command in commands(block) if not is_known(command, project)] == []
        return
    if blocks:
        _copy_repository(tmp_path)
    _run_lines([line for block in _blocks(page, "sh") for line in commands(block)], tmp_path)
    for block in _blocks(page, "console"):
        printed = _run_lines(commands(block), tmp_path)
        assert printed.splitlines() == [line for line in block.code.splitlines() if not line.startswith("$ ")]


def _run_lines(lines: Sequence[str], directory: Path) -> str:
    return _run(["sh", "-e", "-c", "\n".join((_FIRST_ON_PATH, *lines))], directory)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_data_of_a_page_parses(page: Path) -> None:
    for block in _blocks(page, "json"):
        json.loads(block.code)
    for block in _blocks(page, "toml"):
        tomllib.loads(block.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_is_in_a_language_that_is_tested(page: Path) -> None:
    languages = {block.language for block in blocks_of(page.read_text(encoding="utf-8"))}

    assert languages <= {"python", "sh", "console", "json", "toml", "text", "mermaid"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [link["target"] for link in _LINK.finditer(page.read_text(encoding="utf-8"))]

    assert [target for target in targets if not (page.parent / target).exists()] == []


def _copy_repository(directory: Path) -> None:
    for name in ("src", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, directory)


def commands(block: Block) -> list[str]:
    """Return the commands of a shell block: without prompts, comments and what a console printed."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def is_known(command: str, project: Mapping[str, Any]) -> bool:
    """Tell whether *command* runs scripts of Hatch's environments, and installs what pyproject.toml knows."""
    return all(_is_known(shlex.split(part, comments=True), project) for part in command.split("&&"))


def _is_known(words: Sequence[str], project: Mapping[str, Any]) -> bool:
    match words:
        case ["hatch", "run", script, *_]:
            environment, _, name = script.rpartition(":")
            return name in _scripts(project["tool"]["hatch"]["envs"], environment or "default")
        case ["pip", "install", *requirements]:
            return all(_is_installable(requirement, project) for requirement in requirements)
        case _:
            return False


def _is_installable(requirement: str, project: Mapping[str, Any]) -> bool:
    """Tell whether *requirement* is this package with extras that it has, one that it depends on, or a tool of its own."""
    parts = _REQUIREMENT.fullmatch(requirement)
    if parts is None:
        return False
    if parts["name"] == project["project"]["name"]:
        return set(filter(None, (parts["extras"] or "").split(","))) <= set(project["project"]["optional-dependencies"])
    dependencies = {re.split(r"[^\w-]", dependency)[0] for dependency in project["project"]["dependencies"]}
    return parts["name"] in dependencies | set(project["tool"])


def _scripts(environments: Mapping[str, Any], name: str) -> set[str]:
    """Return the scripts of an environment and of those that it is made after, as Hatch inherits them."""
    if name not in environments:
        return set()
    own: Mapping[str, Any] = environments[name]
    template = own.get("template", "default")
    inherited: set[str] = set() if template == name else _scripts(environments, template)
    return inherited | set(own.get("scripts", ()))


class TestThisTest:
    """The checks themselves, on pages with a fault."""

    @pytest.mark.parametrize(
        ("page", "message"),
        [
            ("```python\n1 + 1  # -> 3\n```", "2 is not 3"),
            ("```python\nasync def f():\n    1  # -> 1\n```", "never reached"),
            ("```python\nx = 1  # -> 1\n```", "no expression ends"),
            ("```python\nimport warnings\nwarnings.warn('old')\n```", "UserWarning: old"),
            ("text\n\n```python\nawait missing\n```", "line 4, in <module>"),
            ("```python\n1 + 1", "is not closed"),
        ],
    )
    def test_a_fault_in_a_page_is_found(self, page: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "page.md").write_text(page)

        with pytest.raises(AssertionError, match=re.escape(message)):
            _run_page(tmp_path / "page.md", tmp_path)

    def test_blocks_share_a_module_and_await_at_the_top_level(self, tmp_path: Path) -> None:
        page = "```python\nimport asyncio\nx = 1\n```\n\n  ```python\n  await asyncio.sleep(0, x)  # -> 1\n  ```\n"
        (tmp_path / "page.md").write_text(page)

        _run_page(tmp_path / "page.md", tmp_path)

    def test_only_the_commands_of_a_console_block_run(self) -> None:
        assert commands(Block("console", 1, "$ echo 1\n1\n$ echo 2\n")) == ["echo 1", "echo 2"]
        assert commands(Block("sh", 1, "# why\necho 1 \\\n  2\n\n")) == ["echo 1    2"]

    @pytest.mark.parametrize(
        ("command", "known"),
        [
            ("hatch run test:run -k repository", True),
            ("hatch run test:nothing", False),
            ("hatch run nowhere:run", False),
            ("pip install layered-backend", True),
            ("pip install 'layered-backend[sqlite,postgresql]'", True),
            ("pip install 'layered-backend[nothing]'", False),
            ("pip install 'layered-backend[sqlite]' 'fastapi[standard]'", True),
            ("pip install hatch && hatch run test:run", True),
            ("pip install hatch && hatch run test:nothing", False),
            ("pip install flask", False),
            ("make", False),
        ],
    )
    def test_a_command_is_looked_up(self, command: str, known: bool) -> None:
        project: dict[str, Any] = {
            "project": {
                "name": "layered-backend",
                "dependencies": ["fastapi>=0.121.1"],
                "optional-dependencies": {"sqlite": [], "postgresql": []},
            },
            "tool": {"hatch": {"envs": {"default": {}, "test": {"scripts": {"run": "pytest"}}}}},
        }

        assert is_known(command, project) is known
