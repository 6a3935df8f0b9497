"""A real uvicorn in a process of its own, which ends with the process that started it.

python -m tests.faults.serving tests.faults.application:app FILE_DESCRIPTOR
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn

_ROOT = Path(__file__).parents[2]
_START_TIMEOUT = 30  # seconds
_STOP_TIMEOUT = 30  # seconds
WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for a client that would read all certificates first


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: Where, such as `http://127.0.0.1:40123`.
        log_path: What it printed.
        process: The process, which `serving` ends.
    """

    url: str
    log_path: Path
    process: subprocess.Popen[bytes]

    def client(self, *, timeout: float = 30, connections: int = 100) -> httpx2.AsyncClient:
        """Return a client for it; *timeout* is in seconds."""
        limits = httpx2.Limits(max_connections=connections)
        return httpx2.AsyncClient(base_url=self.url, timeout=timeout, limits=limits, verify=WITHOUT_TLS)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


@contextmanager
def serving(application: str, log_path: Path, environment: Mapping[str, str]) -> Generator[Server]:
    """Serve *application* (`module:name`) on a free port of the loopback interface until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log_path.open("wb") as log:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.faults.serving", application, str(listener.fileno())],
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    server = Server(f"http://127.0.0.1:{port}", log_path, process)
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        _end(process)


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            httpx2.get(f"{server.url}/openapi.json", timeout=_START_TIMEOUT, verify=WITHOUT_TLS)
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server did not start:\n{server.log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _serve(application: str, file_descriptor: int) -> None:
    server = uvicorn.Server(uvicorn.Config(application, lifespan="on"))

    def stop_when_standard_input_ends() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=stop_when_standard_input_ends, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=file_descriptor)])


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
