"""A server in a thread of this process."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from examples.atlas.demo.errors import DemonstrationError

_POLL = 0.02  # seconds


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this machine alone; port 0 is any free one.

    Raises:
        OSError: The port is taken.
    """
    return socket.create_server(("127.0.0.1", port))


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Generator[threading.Thread]:
    """Serve *app* while the block runs, and give the thread that does: it ends when the server cannot go on.

    Raises:
        DemonstrationError: The application does not start; the server's log says why.
    """
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), name="server")
    thread.start()
    try:
        while not server.started:
            thread.join(_POLL)
            if not thread.is_alive():
                raise DemonstrationError("the application did not start")
        yield thread
    finally:
        server.should_exit = True
        thread.join()
