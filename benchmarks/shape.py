"""The shape of a package: its size, and the signs that code is cut too small or kept too long.

`python -m benchmarks.shape` reads `src`; another folder, such as that of another checkout, is an argument. Code is counted in
lines that are neither blank, nor comment, nor docstring. The counts read names and never resolve them: they compare one
state of the code with another. It belongs to the benchmarks because it is a measure too, with a before and an after.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Function", "Module", "Shape", "main"]

_SHORT_MODULE = 60  # lines, with comments and docstrings
_SHORT_FUNCTION = 2  # lines of its body
_REPEATED = 50  # tokens in a row that occur elsewhere too
_SHOWN = 15
_SOURCE = Path(__file__).parents[1] / "src"
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_ANY = re.compile(r"\bAny\b")
_CAST = re.compile(r"cast\(.?Any\b")
_IGNORE = re.compile(r"#\s*(?:type|pyright|ty|pyrefly):\s*ignore")
_NOQA = re.compile(r"#\s*noqa\b")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (ast.ClassDef, *_FUNCTIONS)
_PRIVATE = re.compile(r"_[A-Za-z]\w*\Z")


@dataclass(frozen=True)
class Function:
    """One function or method.

    Attributes:
        name: Its name in its module, such as `Turn.enter`.
        place: The path of the module and the line.
        lines: The lines of code of its body.
    """

    name: str
    place: str
    lines: int

    @property
    def is_private(self) -> bool:
        """Whether its own name says that it is for its module alone."""
        return _PRIVATE.match(self.name.rpartition(".")[2]) is not None


class Module:
    """One file of Python.

    Args:
        path: The file.
        root: The folder that paths are told from.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.name = str(path.relative_to(root))
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        docstrings = set(_docstring_lines(self.tree))
        self.tokens = [each for each in tokens if each.type not in _LAYOUT and each.start[0] not in docstrings]
        self.code = {line for each in self.tokens for line in range(each.start[0], each.end[0] + 1)}

    @property
    def functions(self) -> Iterator[Function]:
        """Its functions and methods, with those inside of others."""
        yield from self._functions(self.tree, "")

    def _functions(self, node: ast.AST, prefix: str) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, _DEFINITIONS):
                name = f"{prefix}{child.name}."
            if isinstance(child, _FUNCTIONS):
                first, last = child.body[0].lineno, child.end_lineno or 0
                lines = len(self.code & set(range(first, last + 1)))
                yield Function(name[:-1], f"{self.name}:{child.lineno}", lines)
            yield from self._functions(child, name)

    def lines_with(self, pattern: re.Pattern[str]) -> int:
        """Return how many lines a pattern is found in, docstrings and imports left out."""
        lines = enumerate(self.text.splitlines(), start=1)
        return sum(
            number in self.code and not line.startswith(("from ", "import ")) and pattern.search(line) is not None
            for number, line in lines
        )


@dataclass(frozen=True)
class Shape:
    """The modules of a folder, and what can be counted in them."""

    modules: Sequence[Module]

    @classmethod
    def of(cls, folder: Path) -> Shape:
        """Return the shape of all modules in a folder."""
        return cls([Module(path, folder) for path in sorted(folder.rglob("*.py"))])

    @property
    def functions(self) -> Sequence[Function]:
        """All functions."""
        return [function for module in self.modules for function in module.functions]

    @property
    def called_once(self) -> Sequence[Function]:
        """The private functions whose name occurs once outside of their definition."""
        uses = Counter(name for module in self.modules for name in _uses(module.tree))
        return [each for each in self.functions if each.is_private and uses[each.name.rpartition(".")[2]] == 1]

    @property
    def undocumented(self) -> Mapping[str, int]:
        """Names with an underscore in front that none of the modules defines, and how often they are used."""
        own = {name for module in self.modules for name in _definitions(module.tree)}
        used = Counter(name for module in self.modules for name in _private_uses(module.tree))
        return {name: times for name, times in used.most_common() if name not in own}

    @property
    def repeated(self) -> int:
        """How many lines of code are part of fifty tokens in a row that occur more than once."""
        places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for number, module in enumerate(self.modules):
            texts = [each.string for each in module.tokens]
            for start in range(len(texts) - _REPEATED + 1):
                places.setdefault(tuple(texts[start : start + _REPEATED]), []).append((number, start))
        return len(
            {
                (number, token.start[0])
                for found in places.values()
                if len(found) > 1
                for number, start in found
                for token in self.modules[number].tokens[start : start + _REPEATED]
            }
        )


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, *_DEFINITIONS)):
            continue
        for statement in node.body:  # an attribute's docstring follows its assignment
            if isinstance(statement, ast.Expr) and _is_text(statement.value):
                yield from range(statement.lineno, (statement.end_lineno or 0) + 1)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _uses(tree: ast.Module) -> Iterator[str]:
    """Yield each name that is read, and each attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _definitions(tree: ast.Module) -> Iterator[str]:
    """Yield each name that is given a meaning: by a definition, an assignment, or as a parameter."""
    for node in ast.walk(tree):
        if isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def _private_uses(tree: ast.Module) -> Iterator[str]:
    """Yield each private attribute, each private name that is imported, and each private name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield from filter(_PRIVATE.match, [node.attr])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from filter(_PRIVATE.match, [node.value])
        elif isinstance(node, ast.ImportFrom):
            yield from filter(_PRIVATE.match, (alias.name for alias in node.names))


def main() -> None:
    """Print the shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shape", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=_SOURCE)
    parser.add_argument("--list", action="store_true", help="name what is counted, where it has a name")
    given = parser.parse_args()
    shape = Shape.of(given.folder)
    functions, undocumented = shape.functions, shape.undocumented
    short = [each.name for each in shape.modules if len(each.text.splitlines()) < _SHORT_MODULE]
    longest = sorted(functions, key=lambda each: -each.lines)[:_SHOWN]
    tiny = [each for each in functions if each.lines <= _SHORT_FUNCTION]
    private = [each for each in functions if each.is_private]
    ignores = sum(len(_IGNORE.findall(each.text)) for each in shape.modules)
    noqa = sum(len(_NOQA.findall(each.text)) for each in shape.modules)
    lines = sum(len(each.code) for each in shape.modules)
    for what, count in (
        ("modules", len(shape.modules)),
        (f"modules under {_SHORT_MODULE} lines", len(short)),
        ("lines of code", lines),
        ("functions", len(functions)),
        (f"functions of {_SHORT_FUNCTION} lines or fewer", len(tiny)),
        ("private functions", len(private)),
        ("private functions used once", len(shape.called_once)),
        ("undocumented names", len(undocumented)),
        ("uses of undocumented names", sum(undocumented.values())),
        ("lines with Any", sum(each.lines_with(_ANY) for each in shape.modules)),
        ("lines with a cast to Any", sum(each.lines_with(_CAST) for each in shape.modules)),
        ("ignores of type checkers", ignores),
        ("ignores of the linter", noqa),
        ("lines of repeated code", shape.repeated),
    ):
        print(f"{count:7,}  {what}")
    print("\nThe longest functions, by lines of their body:")
    for each in longest:
        print(f"{each.lines:7}  {each.name}  {each.place}")
    if given.list:
        _list("modules that are short", short)
        _list("private functions used once", [f"{each.name}  {each.place}" for each in shape.called_once])
        _list("undocumented names", [f"{name}  {times}" for name, times in undocumented.items()])


def _list(title: str, lines: Sequence[str]) -> None:
    print(f"\n{title.capitalize()}:", *lines, sep="\n  ")


if __name__ == "__main__":
    main()
