"""Takes undocumented names away from the library, as a new release of their owner may do.

A name cannot be deleted: its owner uses it itself. So the seam does not find it, and code of ours that calls it all the same
gets an AttributeError. As a plugin of pytest it does so from the beginning, for what LAYERED_TAKE_AWAY names:

    LAYERED_TAKE_AWAY=accelerations python -m pytest -p tests.upstream.taking_away tests/integration
    LAYERED_TAKE_AWAY=fastapi.routing:APIRoute.get_route_handler python -m pytest -p tests.upstream.taking_away ...

`accelerations` is every name that `Package.offers` is asked for. At the end the run says what was taken away.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import pytest

from layered_backend.upstream.verification import Package, Undocumented
from tests.upstream.page import checks

__all__ = ["accelerations_taken_away", "pytest_configure", "pytest_terminal_summary", "taken_away", "use_named"]

_VARIABLE = "LAYERED_TAKE_AWAY"
_ALL = "accelerations"
_OWN = "layered_backend"
_DOCUMENTED = frozenset({"__init__", "close", "commit", "cursor", "rollback"})
"""Names that PEP 249 or Python documents: only their further parameters, or where they are, are not documented."""

_stack = ExitStack()
_taken: list[str] = []


def use_named(name: str) -> Undocumented:
    """Return the use that *name* stands for: `module:Owner.name`, or `module:name`."""
    module, _, path = name.partition(":")
    owner, _, attribute = path.rpartition(".")
    return Undocumented(resolve_name(f"{module}:{owner}" if owner else module), attribute)


@contextmanager
def taken_away(*uses: Undocumented) -> Generator[None]:
    """Have the library not find *uses* as long as the block lasts, and fail where it calls one of them."""
    gone = {(id(use.owner), use.name) for use in uses}
    found: Any = vars(Undocumented)["is_present"]

    def is_present(use: Undocumented) -> bool:
        return (id(use.owner), use.name) not in gone and found.fget(use)

    with ExitStack() as stack:
        stack.enter_context(patch.object(Undocumented, "is_present", property(is_present)))
        for use in uses:
            names: Any = getattr(use.owner, "__dict__", {})
            function = names.get(use.name)
            if inspect.isfunction(function) and use.name not in _DOCUMENTED:
                stack.enter_context(patch.object(use.owner, use.name, _hidden(function)))
        yield


def _hidden(function: Any) -> Any:
    """Return *function*, which code of ours cannot call."""

    @functools.wraps(function)
    def hidden(*args: Any, **kwargs: Any) -> Any:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        caller = frame.f_back.f_globals.get("__name__", "")
        if caller.partition(".")[0] == _OWN:
            raise AttributeError(f"{caller} calls {function.__qualname__}, which was taken away")
        return function(*args, **kwargs)

    return hidden


@contextmanager
def accelerations_taken_away() -> Generator[list[str]]:
    """Take away each name that `Package.offers` is asked for in the block, and yield what is switched off by that.

    A name that a guarantee rests on too is missed by `offers` alone.
    """
    offer, switched_off, kept = Package.offers, list[str](), _guaranteed()

    def offers(package: Package, acceleration: str, *uses: Undocumented) -> bool:
        switched_off.append(acceleration)
        stack.enter_context(taken_away(*(use for use in uses if (id(use.owner), use.name) not in kept)))
        with taken_away(*uses):
            return offer(package, acceleration, *uses)

    with ExitStack() as stack, patch.object(Package, "offers", offers):
        yield switched_off


def _guaranteed() -> set[tuple[int, str]]:
    """Return the owners and names that the checks of the seam require."""
    required: set[tuple[int, str]] = set()

    def require(package: Package, *uses: Undocumented) -> None:
        required.update((id(use.owner), use.name) for use in uses)

    with patch.object(Package, "require", require):
        for check in checks():
            check()
    return required


def pytest_configure(config: pytest.Config) -> None:
    """Take away what the environment names, before anything of the library is used."""
    wanted = os.environ.get(_VARIABLE)
    if wanted == _ALL:
        _taken[:] = [_ALL]
        _stack.enter_context(accelerations_taken_away())
    elif wanted:
        _taken[:] = [wanted]
        _stack.enter_context(taken_away(use_named(wanted)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give it back."""
    _stack.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was taken away."""
    terminalreporter.write_line(f"taken away: {', '.join(_taken) or 'nothing'}")
