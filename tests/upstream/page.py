"""Writes the tables of docs/upstream.md out of the docstrings of `upstream/`: `python -m tests.upstream.page`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import layered_backend.upstream

__all__ = ["PAGE", "SUPPORTING", "checks", "entries_of", "modules", "named_in_tests", "parts_of", "tables", "written"]

_SEAM = layered_backend.upstream.__name__
PAGE = Path(__file__).parents[2] / "docs" / "upstream.md"
_BEGIN, _END = "<!-- made by python -m tests.upstream.page -->", "<!-- end -->"
_FOLLOWS = re.compile(r"(?:^|(?<=[.;] ))(?=[Ww]ithout |If )")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_NOT_OF_THE_SEAM = frozenset({"package", "verification"})

SUPPORTING: Mapping[str, str] = {
    "aiosqlite.cursor_trip_uses": "aiosqlite.open_connection",
    "aiosqlite.sqlite_connection": "aiosqlite.open_connection",
    "connecting.require_creator": "connecting.connect_uninterrupted",
    "connecting.thread_ends": "connecting.connections_ended",
    "fastapi.HandlerRun": "fastapi.watch_handlers",
    "fastapi.run_of": "fastapi.watch_handlers",
    "sqlalchemy.aiosqlite_adapter.SingleTripConnection": "sqlalchemy.aiosqlite_adapter",
    "sqlalchemy.aiosqlite_adapter.connected": "sqlalchemy.aiosqlite_adapter",
    "sqlalchemy.expression.SortModifiers": "sqlalchemy.expression.split_sort_modifiers",
    "sqlalchemy.restriction.Restriction": "sqlalchemy.restriction",
    "sqlalchemy.restriction_compiler.restrict": "sqlalchemy.restriction_compiler",
}
"""The functions and classes that do not say what they use, and the function, class or module that says it for them."""


def modules() -> Iterator[ModuleType]:
    """Yield the modules of the seam that use something."""
    root = Path(inspect.getfile(layered_backend.upstream)).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.stem not in {"__init__", *_NOT_OF_THE_SEAM}:
            yield import_module(f"{_SEAM}.{name}")


def entries_of(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes by which *module* uses something, by name: not those that only check."""
    public = {name: getattr(module, name) for name in module.__all__}
    return {
        f"`{name}`": each
        for name, each in public.items()
        if (inspect.isfunction(each) or inspect.isclass(each) or hasattr(each, "__wrapped__"))
        and each.__module__ == module.__name__
        and not _only_checks(name, each)
    }


def _only_checks(name: str, function: Any) -> bool:
    """Tell whether *function* asks, by `require` or `offers`, for what the others of its module use."""
    return name.startswith("verify") or (
        inspect.isroutine(inspect.unwrap(function)) and ".offers(" in inspect.getsource(function)
    )


def said_by_name() -> dict[str, tuple[str, str]]:
    """Return what each module, function and class says it uses, and what follows if that goes, by `module.name`."""
    said: dict[str, tuple[str, str]] = {}
    for module in modules():
        place = module.__name__.removeprefix(f"{_SEAM}.")
        said[place] = parts_of(module.__doc__ or "")
        said |= {
            f"{place}.{name.strip('`')}": parts_of(each.__doc__ or "") for name, each in entries_of(module).items()
        }
    return said


def named_in_tests() -> set[str]:
    """Return the functions and classes of the seam that its tests name, as `module.name`."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_SEAM):
                names = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                aliases |= names
                found |= {*names.values()}
        found |= {
            f"{aliases[node.value.id]}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
        }
    return {name.removeprefix(f"{_SEAM}.") for name in found}


def checks() -> list[Callable[[], None]]:
    """Return the functions that check what guarantees rest on."""
    return [
        value
        for module in modules()
        for name, value in vars(module).items()
        if name.startswith("verify") and value.__module__ == module.__name__
    ]


def parts_of(docstring: str) -> tuple[str, str]:
    """Return two parts of a docstring, without its first line: what is used and why, and what follows if that goes.

    The second part begins with "Without" or "If". It is empty if no sentence begins so. Both parts are empty if the
    docstring has no paragraph but the first line and its sections, such as Args.
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
            name = module.__name__.removeprefix(f"{_SEAM}.")
            sections += [
                f"### {name}\n",
                f"{_checked(module)}\n",
                "| For | What it uses, and why | If it goes |",
                "|---|---|---|",
            ]
            sections += [*rows, ""]
    return "\n".join(sections)


def _checked(module: ModuleType) -> str:
    """Tell which kind of check the module makes at run time."""
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
            return "Not checked: if a name is missing, the code that uses it fails."


def written() -> str:
    """Return the page with its tables as they are to be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n{tables()}\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
