"""A real uvicorn, as a command line starts it, which ends with the block that started it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TIME_LIMIT", "Uvicorn", "uvicorn"]

TIME_LIMIT = 60  # seconds

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Uvicorn:
    """A server, which ends with the block that started it.

    Attributes:
        process: The process, or the parent of its workers.
        log_path: What they print.
    """

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens; uvicorn has taken a free port."""
        return str(self.wait_for_lines(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")[0])

    def wait_for_lines(self, pattern: str, number: int = 1) -> list[Any]:
        """Wait until *number* lines of the log match, and return what their groups hold."""
        deadline = time.monotonic() + TIME_LIMIT
        while len(found := re.findall(pattern, self.log)) < number:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        return found

    def stop(self) -> None:
        """Stop it as an orchestrator does, and wait until it has ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIME_LIMIT)


@contextmanager
def uvicorn(application: str, folder: Path, *options: str, **environment: str) -> Generator[Uvicorn]:
    """Start uvicorn with *application* (`module:name`), on a free port of the loopback interface."""
    log_path = folder / "uvicorn.log"
    command = [sys.executable, "-m", "uvicorn", application]
    command += ["--host", "127.0.0.1", "--port", "0", *options]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers can be ended with it
        )
    try:
        yield Uvicorn(process, log_path)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIME_LIMIT)
