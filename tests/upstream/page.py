"""Writes the tables of docs/upstream.md out of the docstrings of `upstream/`: `python -m tests.upstream.page`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import layered_backend.upstream

__all__ = ["PAGE", "checks", "entries_of", "modules", "parts_of", "tables", "written"]

PAGE = Path(__file__).parents[2] / "docs" / "upstream.md"
_BEGIN, _END = "<!-- made by python -m tests.upstream.page -->", "<!-- end -->"
_FOLLOWS = re.compile(r"(?:^|(?<=[.;] ))(?=[Ww]ithout |If )")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_NOT_OF_THE_SEAM = frozenset({"package", "verification"})


def modules() -> Iterator[ModuleType]:
    """Yield the modules of the seam that use something."""
    root = Path(inspect.getfile(layered_backend.upstream)).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.stem not in {"__init__", *_NOT_OF_THE_SEAM}:
            yield import_module(f"layered_backend.upstream.{name}")


def entries_of(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes by which *module* uses something, by name: not those that only check."""
    public = {name: getattr(module, name) for name in module.__all__}
    return {
        f"`{name}`": each
        for name, each in public.items()
        if (inspect.isfunction(each) or inspect.isclass(each) or hasattr(each, "__wrapped__"))
        and each.__module__ == module.__name__
        and not name.startswith("verify")
    }


def checks() -> list[Callable[[], None]]:
    """Return the functions that check what guarantees rest on."""
    return [
        value
        for module in modules()
        for name, value in vars(module).items()
        if name.startswith("verify") and value.__module__ == module.__name__
    ]


def parts_of(docstring: str) -> tuple[str, str]:
    """Return what a docstring says after its first line: what is used and why, and what follows if that goes.

    The second part begins with "Without" or "If". Both are empty where the docstring says nothing of the kind: the
    function only supports another one.
    """
    _, *paragraphs = inspect.cleandoc(docstring).split("\n\n")
    said = [" ".join(each.split()) for each in paragraphs if not _SECTION.match(each)]
    text = next((each for each in said if _FOLLOWS.search(each)), " ".join(said))
    uses, *follows = _FOLLOWS.split(text, maxsplit=1)
    return uses.strip(), " ".join(follows).strip()


def tables() -> str:
    """Return the tables."""
    sections: list[str] = []
    for module in modules():
        rows = [
            f"| {name} | {uses} | {follows} |"
            for name, each in {"the module": module, **entries_of(module)}.items()
            for uses, follows in [parts_of(each.__doc__ or "")]
            if follows
        ]
        if rows:
            name = module.__name__.removeprefix("layered_backend.upstream.")
            sections += [
                f"### {name}\n",
                f"{_checked(module)}\n",
                "| For | What it uses, and why | If it goes |",
                "|---|---|---|",
            ]
            sections += [*rows, ""]
    return "\n".join(sections)


def _checked(module: ModuleType) -> str:
    """Return what happens at run time where something is missing."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    match "require" in calls, "offers" in calls:
        case True, True:
            return "Guarantee and acceleration."
        case True, False:
            return "Guarantee."
        case False, True:
            return "Acceleration."
        case _:
            return "Not checked: what is missing is met where it is used."


def written() -> str:
    """Return the page with its tables as they are to be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n{tables()}\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
