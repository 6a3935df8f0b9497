"""A client of an application that runs in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layered_backend.database import Database
from layered_backend.testing.bound_engines import BoundEngines, connected_through

if TYPE_CHECKING:
    import httpx2

__all__ = ["client_of", "given_database", "running"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_VERBS = {"startup": "start", "shutdown": "stop"}
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@asynccontextmanager
async def client_of(
    app: Any, *, raise_errors: bool = True, base_url: str = "http://test"
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Yield a client of *app*, whose lifespan has begun, without a server: no port, no thread, no other event loop.

    Args:
        app: The application, of FastAPI or any of ASGI.
        raise_errors: Whether an error that the application does not handle is raised in the test; else it is a 500.
        base_url: What the paths of the requests come behind.

    Raises:
        ModuleNotFoundError: There is no HTTP client; the message says what to install.
        RuntimeError: The application failed to start.
    """
    library = _http_library()
    async with running(app) as started:
        transport = library.ASGITransport(started, raise_app_exceptions=raise_errors)
        async with library.AsyncClient(transport=transport, base_url=base_url) as client:
            yield client


def _http_library() -> Any:
    for name in ("httpx2", "httpx"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ModuleNotFoundError("the client of a test needs an HTTP library: pip install httpx2", name="httpx2")


@contextmanager
def given_database(app: object, database: Database) -> Generator[None]:
    """Have the database that *app* was installed with be *database*, as long as the block lasts."""
    installation = getattr(getattr(app, "state", None), "layered_backend", None)
    installed: object = getattr(installation, "database", None)
    if isinstance(installed, Database) and not isinstance(installed.engines, BoundEngines):
        with connected_through(database.engines, installed):
            yield
    else:
        yield


@asynccontextmanager
async def running(app: Application) -> AsyncGenerator[Application]:
    """Begin the lifespan of *app*, yield what to send requests to, and end it.

    It is a task from beginning to end, as under a server: what a lifespan opens may have to be closed by the same task.

    Raises:
        RuntimeError: The application failed to start, or to stop; its error is the cause.
    """
    lifespan = _Lifespan(app)
    await lifespan.reach("startup")
    try:
        yield lifespan.serve
    finally:
        await lifespan.reach("shutdown")


class _Lifespan:
    """The lifespan protocol of ASGI, as a server speaks it."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        self._task = asyncio.ensure_future(app(scope, self._asked.get, self._answers.put))

    async def reach(self, phase: str) -> None:
        """Ask for *phase* and wait for it; an application that has no lifespan needs none."""
        self._asked.put_nowait({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and answer.result()["type"].endswith(".failed"):
            await asyncio.wait({self._task})
            raise RuntimeError(f"the application failed to {_VERBS[phase]}") from self._task.exception()
        answer.cancel()
        if phase == "shutdown":
            await asyncio.wait({self._task})
            self._task.exception()  # an application without a lifespan has raised

    async def serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request with the state that the lifespan has yielded."""
        await self._app({**scope, "state": dict(self._state)}, receive, send)
