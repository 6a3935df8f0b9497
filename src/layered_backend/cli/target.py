"""Finding the application's seed runner: `shop.seeds:seeds`."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from layered_backend.errors import LayeredError
from layered_backend.seeding import SeedRunner

__all__ = ["TargetError", "load_runner"]

_ADVICE = 'write --app shop.seeds:seeds, or app = "shop.seeds:seeds" below [tool.layered-backend] in pyproject.toml'


class TargetError(LayeredError):
    """The command line does not find the seed runner."""


def load_runner(target: str | None) -> SeedRunner:
    """Return the seed runner that *target* names, else the one in pyproject.toml.

    Modules of the working directory can be imported.

    Raises:
        TargetError: There is none, or it cannot be imported; what its module raised is the cause.
    """
    chosen = target or _configured()
    if chosen is None:
        raise TargetError(f"which seeds? {_ADVICE}")
    module_name, _, attribute = chosen.partition(":")
    if not (module_name and attribute):
        raise TargetError(f"{chosen!r} is not module:attribute; {_ADVICE}")
    sys.path[:0] = [] if str(Path.cwd()) in sys.path else [str(Path.cwd())]
    runner = _attribute(_module(module_name), attribute)
    if not isinstance(runner, SeedRunner):
        raise TargetError(f"{chosen} is a {type(runner).__name__}, not a SeedRunner")
    return runner


def _configured() -> str | None:
    """Return what the nearest pyproject.toml names, from the working directory upwards."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            return _app_of(path)
    return None


def _app_of(path: Path) -> str | None:
    try:
        tool: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{path.name} cannot be read: {error}") from error
    app: str | None = tool.get("layered-backend", {}).get("app")
    return app


def _module(name: str) -> object:
    try:
        return import_module(name)
    except Exception as error:
        raise TargetError(f"{name} cannot be imported ({type(error).__name__}: {error})") from error


def _attribute(module: Any, name: str) -> object:
    if not hasattr(module, name):
        raise TargetError(f"{module.__name__} has no attribute {name!r}")
    return getattr(module, name)
