"""How much code an example has: `python -m examples.count_lines examples/executions`.

Counted are the lines of its modules and templates that are neither blank, nor comment, nor docstring; not its tests, its
migrations and the data of its seeds.
"""

import ast
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_LEFT_OUT = {"tests", "migrations", "data", "__pycache__"}
_KINDS = {".py", ".html", ".css", ".js"}
_NOTHING = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def lines_of_code(folder: Path) -> dict[str, int]:
    """Return how many lines of code each file of an example has, by its path in *folder*."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in _KINDS)
    return {
        str(path.relative_to(folder)): _count(path)
        for path in files
        if not _LEFT_OUT.intersection(path.relative_to(folder).parts)
    }


def _count(path: Path) -> int:
    if path.suffix != ".py":
        return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return len({*_lines_with_code(path)} - {*_lines_of_docstrings(path)})


def _lines_with_code(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in _NOTHING:
                yield from range(token.start[0], token.end[0] + 1)


def _lines_of_docstrings(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


if __name__ == "__main__":
    counted = lines_of_code(Path(sys.argv[1]))
    print("\n".join(f"{count:5} {name}" for name, count in counted.items()))
    print(f"{sum(counted.values()):5} lines of code")
