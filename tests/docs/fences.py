"""The fenced code blocks of a Markdown page."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

__all__ = ["Block", "blocks_of"]

_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: What follows the opening fence.
        line: The number of the first line of the code, from 1.
        code: What stands between the fences, without their indentation.
    """

    language: str
    line: int
    code: str


def blocks_of(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page, in order.

    Raises:
        ValueError: A block is not closed.
    """
    blocks: list[Block] = []
    numbered = enumerate(markdown.splitlines(), start=1)
    for number, line in numbered:
        opening = _FENCE.match(line)
        if opening is None:
            continue
        code: list[str] = []
        for _, inner in numbered:
            if inner.strip() == opening["mark"]:
                break
            code.append(inner)
        else:
            raise ValueError(f"the block that opens in line {number} is not closed")
        blocks.append(Block(opening["info"].strip(), number + 1, textwrap.dedent("\n".join(code)) + "\n"))
    return blocks
