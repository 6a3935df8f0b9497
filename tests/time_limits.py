"""A plugin of pytest: a test that takes too long ends with its process, and all stacks are printed, whatever it hangs in.

pytest-timeout would not do: its signal does not end a test that ignores the failure or hangs in C, and its thread prints nothing
where pytest-xdist runs the test. faulthandler needs neither the interpreter nor an event loop, and pytest-xdist goes on with a new
process. It knows the stacks of threads alone, so those of asyncio's tasks and of greenlets are printed a moment before.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import pytest

__all__ = ["pytest_configure"]

_SECONDS = 180  # for a test without `time_limit`; on a quiet machine all but a few take less than 10
_MOMENT = 5  # seconds, to print what faulthandler does not know
_Greenlet: Any = import_module("greenlet").greenlet  # which has no types


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "time_limit(seconds, moment=5): how long the test may take; 180 unless it says so"
    )
    stream = os.fdopen(os.dup(2), "w")  # standard error, before a test captures it
    config.pluginmanager.register(_TimeLimits(stream))


class _TimeLimits:
    """Watches over the tests of a process. Lives as long as the process."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._deadline: float | None = None
        threading.Thread(target=self._watch, name="time limits of tests", daemon=True).start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        marker = item.get_closest_marker("time_limit")
        seconds: float = marker.args[0] if marker else _SECONDS
        moment: float = marker.kwargs.get("moment", _MOMENT) if marker else _MOMENT
        self._deadline = time.monotonic() + seconds
        faulthandler.dump_traceback_later(seconds + moment, exit=True, file=self._stream)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._deadline = None

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._deadline = None
                self._print_suspended()
                _end_children()

    def _print_suspended(self) -> None:
        print("\n~~~~ a test has taken too long; tasks and greenlets:", file=self._stream)
        for thing in gc.get_objects():
            if _is_a(asyncio.Task, thing) and not thing.done():
                thing.print_stack(file=self._stream)
            elif _is_a(_Greenlet, thing) and thing.gr_frame is not None:
                print(f"Stack for {thing!r}:", file=self._stream)
                traceback.print_stack(thing.gr_frame, file=self._stream)
        self._stream.flush()


def _is_a(kind: Any, thing: object) -> bool:
    return issubclass(type(thing), kind)  # `isinstance` would ask a mock or a proxy


def _end_children() -> None:
    """End the processes that the test has started, which the end of this one would leave running."""
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):  # on Linux
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGTERM)
