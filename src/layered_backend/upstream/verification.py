"""Checking, before it is used, that what a package does not document is still what it was."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import CodeType
from typing import Any

from layered_backend.errors import UnsupportedVersionError

__all__ = ["Package", "Undocumented"]

_logger = logging.getLogger("layered_backend")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Undocumented:
    """A name that its owner does not document.

    Attributes:
        owner: The class, module or object that has it; a mapping that has it among its keys, such as options, or the code of
            a function that has it among its constants.
        name: The name.
        parameters: The names of the parameters that are passed to it, where it is called.
    """

    owner: Any
    name: str
    parameters: tuple[str, ...] = ()

    @property
    def is_present(self) -> bool:
        """Whether the owner has the name, and what has the name accepts the parameters."""
        if isinstance(self.owner, CodeType):
            return self.name in self.owner.co_consts
        has_keys = isinstance(self.owner, Mapping)
        if has_keys:
            return self.name in self.owner
        found = getattr(self.owner, self.name, _MISSING)
        if found is _MISSING:
            return False
        return not self.parameters or _accepts(found, self.parameters)

    def __str__(self) -> str:
        named = "co_qualname" if isinstance(self.owner, CodeType) else "__name__"
        owner: str = getattr(self.owner, named, type(self.owner).__name__)
        return f"{owner}.{self.name}({', '.join(self.parameters)})" if self.parameters else f"{owner}.{self.name}"


@dataclass(frozen=True)
class Package:
    """A package whose undocumented names are used. Lives as long as the process.

    Attributes:
        name: Its name on PyPI.
        tested: The releases that the contract tests run with, such as `2.0.55 to 2.1`.
    """

    name: str
    tested: str

    def require(self, *uses: Undocumented) -> None:
        """Check what a guarantee of this library rests on.

        Raises:
            UnsupportedVersionError: The installed release lacks one of *uses*.
        """
        missing = [str(use) for use in uses if not use.is_present]
        if missing:
            raise UnsupportedVersionError(self.name, version(self.name), missing, self.tested)

    def offers(self, acceleration: str, *uses: Undocumented) -> bool:
        """Tell whether the installed release has all of *uses*, which only make something faster.

        Where it does not, a WARNING says so; call this once, and keep the answer.

        Args:
            acceleration: What is switched off, as the subject of a sentence.
            uses: What it uses.
        """
        missing = [str(use) for use in uses if not use.is_present]
        if missing:
            _logger.warning(
                "%s is switched off: %s %s has no %s; it works with %s %s",
                acceleration, self.name, version(self.name), ", ".join(missing), self.name, self.tested,
            )  # fmt: skip
        return not missing


def _accepts(function: Any, parameters: tuple[str, ...]) -> bool:
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in, which tells nothing of its parameters
        return True
    return set(parameters) <= known.keys()
