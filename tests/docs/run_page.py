"""Run the Python blocks of one page, in order, as one module: `python -m tests.docs.run_page docs/repository.md`.

A block with `await` at its top level runs on an event loop, any other without one, as the reader would run them. The
comment of `expression  # -> value` is checked, which may stand in the line below too: the two must be equal, and each
must be reached.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import sys
import tokenize
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.docs.fences import Block, blocks_of

_ARROW = "# ->"
_CHECK = "__check__"


class _Expectations(ast.NodeTransformer):
    """Turns `expression  # -> value` into a call that compares the two."""

    def __init__(self, source: str) -> None:
        lines = io.StringIO(source).readline
        arrows = [token for token in tokenize.generate_tokens(lines) if token.string.startswith(_ARROW)]
        self.pending = {_line_of_expression(arrow): arrow.string.removeprefix(_ARROW) for arrow in arrows}
        self.lines = set(self.pending)

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        line = node.end_lineno or node.lineno
        if line not in self.pending:
            return node
        expected = ast.parse(self.pending.pop(line).strip(), mode="eval").body
        arguments: list[ast.expr] = [ast.Constant(line), node.value, expected]
        check = ast.Call(ast.Name(_CHECK, ast.Load()), arguments, [])
        for part in (check, *ast.walk(expected)):
            ast.copy_location(part, node.value)
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(check), node))


def _line_of_expression(arrow: tokenize.TokenInfo) -> int:
    """Return the line in which the expression before a comment ends: its own, or the one above where it stands alone."""
    stands_alone = arrow.line.strip() == arrow.string
    return arrow.start[0] - stands_alone


def _compiled(block: Block, page: Path) -> tuple[CodeType, set[int]]:
    """Return the block's code, with the page's own line numbers, and the lines that it checks."""
    source = "\n" * (block.line - 1) + block.code
    expectations = _Expectations(source)
    tree = expectations.visit(ast.parse(source, str(page)))
    if expectations.pending:
        raise SyntaxError(f"{page.name}: no expression ends in the lines {sorted(expectations.pending)}")
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(tree, str(page), "exec", flags=flags, dont_inherit=True), expectations.lines


def run(page: Path) -> None:
    """Run the page.

    Raises:
        AssertionError: A value is another than its comment says, or such a line is never reached.
    """
    unreached: set[int] = set()

    def check(line: int, actual: object, expected: object) -> None:
        assert actual == expected, f"{page.name}, line {line}: {actual!r} is not {expected!r}"
        unreached.discard(line)

    module: Any = ModuleType(f"page_{page.stem}")
    module.__dict__[_CHECK] = check
    sys.modules[module.__name__] = module  # where annotations are looked up
    with asyncio.Runner() as runner:
        for block in blocks_of(page.read_text(encoding="utf-8")):
            if block.language != "python":
                continue
            code, checked = _compiled(block, page)
            unreached |= checked
            result: Any = eval(code, module.__dict__)  # noqa: S307  # our own pages
            if inspect.iscoroutine(result):
                runner.run(result)
    assert not unreached, f"{page.name}: the lines {sorted(unreached)} are never reached"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
