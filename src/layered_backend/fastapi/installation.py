"""Installing the layers into an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from layered_backend.database import Database
from layered_backend.errors import UnitOfWorkError
from layered_backend.fastapi.actors import PrincipalSource, checked_source
from layered_backend.fastapi.auto_seeding import AutoSeed, AutoSeeding
from layered_backend.fastapi.background_jobs import Background, BackgroundJobs, repeating
from layered_backend.fastapi.error_handlers import add_error_handlers
from layered_backend.fastapi.request_ids import add_request_ids
from layered_backend.fastapi.security_schemes import describe
from layered_backend.seeding import SeedRunner
from layered_backend.unit_of_work import OpenUnit, UnitOfWork, end_abandoned, opened_units
from layered_backend.upstream.fastapi import verify_fastapi
from layered_backend.upstream.starlette import Lifespan, verify_starlette, wrap_lifespan

__all__ = ["Installation", "Serving", "install", "installation_of", "installed_in", "serving"]

_SCOPE_KEY = "layered_backend.installation"
_STATE_NAME = "layered_backend"


@dataclass(frozen=True, slots=True)
class Installation:
    """The parts that `install` gives an application: the class of its units of work, their database, its seeding, jobs and principal."""

    unit_of_work: type[UnitOfWork]
    database: Database
    seeding: AutoSeeding
    background: BackgroundJobs
    principal: PrincipalSource | None = None

    def kind(self, wanted: type[UnitOfWork]) -> type[UnitOfWork]:
        """Return the class that serves *wanted*: the application's own where that is a kind of it."""
        return self.unit_of_work if issubclass(self.unit_of_work, wanted) else wanted

    def open(self, wanted: type[UnitOfWork]) -> UnitOfWork:
        """Return a new unit of work for a dependency that wants one of class *wanted*."""
        kind = self.kind(wanted)
        return kind(self.database) if kind is self.unit_of_work else kind()


class Serving(NamedTuple):
    """The connection that an application serves: its kind, as ASGI calls it, and the event loop."""

    installation: Installation
    kind: str
    loop: asyncio.AbstractEventLoop


serving: ContextVar[Serving | None] = ContextVar("serving", default=None)
"""The connection that the application serves here, in its tasks and threads."""


def install(
    app: FastAPI,
    unit_of_work: type[UnitOfWork],
    *,
    database: Database | None = None,
    seeds: SeedRunner | None = None,
    auto_seed: AutoSeed | None = None,
    strict: bool = True,
    principal: PrincipalSource | None = None,
    background: Background | None = None,
    request_ids: bool = True,
) -> None:
    """Give *app* its unit of work: the dependencies find it, errors become responses, connections close at the end.

    Mounted sub-applications use it too; their own errors need `add_error_handlers(sub_application)`. The application's
    own lifespan and its own error handlers are kept; seeding begins when that lifespan has begun, which may make tables.

    Args:
        app: The application, before it starts.
        unit_of_work: The class whose units of work `get_uow` opens, one for each request.
        database: Where they work, and where *seeds* seed; the class's own `database` unless it is given.
        seeds: What to seed when the application starts.
        auto_seed: "wait" seeds before the first request, "background" beside the requests, "off" not at all. None is
            what LAYERED_AUTO_SEED says at the start, and off where it says nothing.
        strict: Whether seeding that fails before the first request stops the start; else it is logged, and told by
            `health_router`.
        principal: Who makes a request: what `current_principal` returns, or a coroutine function that takes the connection
            alone. It is awaited once a request, before a unit of work opens, and its value is `uow.actor`: None for a
            request without credentials.
        background: How what `run_in_background` is given runs, and what is told of failures; see `Background`.
        request_ids: Whether each request has an id, in its log lines and in the header `X-Request-ID` of its response.

    Raises:
        TypeError: *principal* cannot be awaited with the connection alone.
        UnitOfWorkError: No database is named, or *app* has been installed into before.
        UnsupportedVersionError: The installed FastAPI lacks something that a guarantee rests on.
        ValueError: *auto_seed* is something else, or has no *seeds*. LAYERED_AUTO_SEED is checked at the start.
    """
    verify_fastapi()
    verify_starlette()
    chosen = database or getattr(unit_of_work, "database", None)
    if chosen is None:
        raise UnitOfWorkError(f"{unit_of_work.__name__} has no database; write install(..., database=database)")
    if hasattr(app.state, _STATE_NAME):
        raise UnitOfWorkError("the application has its unit of work; use uow_dependency() for a second database")
    seeding = AutoSeeding(seeds, chosen, auto_seed, strict=strict)
    source = None if principal is None else checked_source(principal)
    jobs = BackgroundJobs(background or Background())
    installation = Installation(unit_of_work, chosen, seeding, jobs, source)
    setattr(app.state, _STATE_NAME, installation)
    app.add_middleware(_InstallationMiddleware, installation=installation)
    wrap_lifespan(app, partial(_around, installation))
    add_error_handlers(app)
    if request_ids:
        add_request_ids(app)
    if source is not None:
        describe(app, source)


def installation_of(connection: HTTPConnection) -> Installation:
    """Return the installation of the application that serves *connection*, or of the one that it is mounted in.

    Raises:
        UnitOfWorkError: There is none.
    """
    installation: Installation | None = connection.scope.get(_SCOPE_KEY)
    if installation is None:
        raise UnitOfWorkError("the application has no unit of work; call install(app, ShopUnitOfWork)")
    return installation


def installed_in(app: FastAPI) -> Installation:
    """Return the installation of *app*.

    Raises:
        UnitOfWorkError: There is none.
    """
    installation: Installation | None = getattr(app.state, _STATE_NAME, None)
    if installation is None:
        raise UnitOfWorkError("the application has no unit of work; call install(app, ShopUnitOfWork)")
    return installation


class _InstallationMiddleware:
    """Leaves the installation in the scope, which a mounted sub-application inherits; it sees no other part of ours.

    At the end of a request it ends what a generator has left open: one whose client has gone is only dropped, by
    Starlette's streams and FastAPI's events alike, and would keep its connection until the garbage collector comes by.
    """

    def __init__(self, app: ASGIApp, installation: Installation) -> None:
        self._app = app
        self._installation = installation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SCOPE_KEY] = self._installation
        opened: set[OpenUnit] = set()
        serves = Serving(self._installation, scope["type"], asyncio.get_running_loop())
        token, of_serving = opened_units.set(opened), serving.set(serves)
        try:
            await self._app(scope, receive, send)
        finally:
            opened_units.reset(token)
            serving.reset(of_serving)
            if opened:
                await end_abandoned(opened)


def _around(installation: Installation, of_application: Lifespan) -> Lifespan:
    """Return the application's own lifespan with that of *installation* around it, and its work inside."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[Any]:
        async with installation.database, of_application(app) as state:
            async with installation.background.around(), installation.seeding.around():
                async with repeating(installation.background, lambda: installation.open(installation.unit_of_work)):
                    yield state

    return lifespan
