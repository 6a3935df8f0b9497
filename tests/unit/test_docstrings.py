"""Docstrings begin with a plain sentence: its subject is no clause."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
_CLAUSE = re.compile(r"(What|Who|Whose|Whoever|Whatever|Where|That which)\b")


def _docstrings() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each docstring, those of attributes and constants included."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", node.value.value


def test_no_docstring_begins_with_a_clause() -> None:
    docstrings = list(_docstrings())

    assert len(docstrings) > 1000
    assert [place for place, text in docstrings if _CLAUSE.match(text)] == []
