"""The application under a real uvicorn, in a process of its own."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from examples.executions.seeds.groups import PASSWORD

_ROOT = Path(__file__).parents[3]
_LIMIT = 60  # seconds


@dataclass
class Server:
    """A server, and what a member of a group says to it.

    Attributes:
        url: Where it listens.
        process: The process.
    """

    url: str
    process: subprocess.Popen[str]

    @contextmanager
    def client(self, name: str = "north/ann") -> Generator[httpx2.Client]:
        """Open a client that is logged in."""
        with httpx2.Client(base_url=self.url, timeout=30) as client:
            token = client.post("/login", data={"username": name, "password": PASSWORD}).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client

    def body(self, client: httpx2.Client, kind: str, plan: str, text: str) -> Mapping[str, Any]:
        """Return what starts an execution."""
        plans = client.get(f"/{kind}s", params={"name": plan}).json()["items"]
        return {"kind": kind, "plan_id": plans[0]["id"], "text": text}

    def start(self, kind: str, plan: str, text: str) -> None:
        """Start an execution."""
        with self.client() as client:
            client.post("/executions", json=self.body(client, kind, plan, text)).raise_for_status()

    def wait_until_idle(self) -> None:
        """Wait until no execution waits or runs."""
        deadline = time.monotonic() + _LIMIT
        with self.client() as client:
            while client.get("/executions", params={"status": ["PENDING", "RUNNING"]}).json()["items"]:
                assert time.monotonic() < deadline, "executions do not end"
                time.sleep(0.05)

    def kill(self) -> None:
        """End it as a loss of power does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_LIMIT)


@contextmanager
def serving(path: Path, *options: str, **environment: str) -> Generator[Server]:
    """Serve the database in a SQLite file, on a free port of the loopback interface, while the block lasts."""
    variables = {"DATABASE_URL": f"sqlite:///{path}", "SECRET_KEY": secrets.token_urlsafe(48), **environment}
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0"]
    command += options or ["examples.executions.main:app"]
    with path.with_suffix(".log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=_ROOT, env={**os.environ, **variables}, stderr=log, text=True, start_new_session=True
        )
        try:
            yield Server(_address(process, path.with_suffix(".log")), process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_LIMIT)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    deadline = time.monotonic() + _LIMIT
    while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found.group(1)
