"""Fixtures: a server for each database of the matrix."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import ASYNC_BACKENDS, MUST_HAVE_SERVERS, Backend, ServerMissingError, Shop
from tests.faults.serving import Server, serving
from tests.faults.store import Store, open_store


@dataclass(frozen=True)
class ServedShop:
    """A server, and the test's own way to the database that it works on.

    Attributes:
        server: The server, whose pool has two connections.
        shop: The database, with the tables and no rows.
    """

    server: Server
    shop: Shop


@pytest.fixture
def served_shop(async_shop: Shop, tmp_path: Path) -> Iterator[ServedShop]:
    """The application of these tests, served on each database."""
    url = async_shop.database.url.render_as_string(hide_password=False)
    with serving("tests.faults.application:app", tmp_path / "server.log", {"LAYERED_TEST_URL": url}) as server:
        yield ServedShop(server, async_shop)


class Stores:
    """The servers that are left running, each started when a test first asks for it."""

    def __init__(self, stack: ExitStack, factory: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._factory = factory
        self._stores: dict[tuple[Backend, bool], Store | ServerMissingError] = {}

    def on(self, backend: Backend, *, as_ordinary_user: bool = False) -> Store:
        """Return the server on *backend*; skip or fail where that does not run."""
        key = (backend, as_ordinary_user)
        if key not in self._stores:
            self._stores[key] = self._opened(*key)
        store = self._stores[key]
        if isinstance(store, ServerMissingError):
            (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(store))
        return store

    def _opened(self, backend: Backend, as_ordinary_user: bool) -> Store | ServerMissingError:
        folder = self._factory.mktemp("store")
        try:
            return self._stack.enter_context(open_store(backend, folder, as_ordinary_user=as_ordinary_user))
        except ServerMissingError as error:
            return error


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(stack, tmp_path_factory)


@pytest.fixture(params=ASYNC_BACKENDS, ids=str)
async def store(request: pytest.FixtureRequest, stores: Stores) -> AsyncGenerator[Store]:
    """The whole application, served on each database, with no rows; at the end nothing may be left behind."""
    store = stores.on(request.param)
    await store.clear()
    yield store
    await store.assert_sound()


@pytest.fixture(params=ASYNC_BACKENDS, ids=str)
async def failing_store(request: pytest.FixtureRequest, stores: Stores) -> AsyncGenerator[Store]:
    """As `store`, for `fail_a_commit`: what it does to a MariaDB server stops none but its ordinary users."""
    is_mariadb = request.param.server == "mariadb"
    store = stores.on(request.param, as_ordinary_user=is_mariadb)
    with store.witness.holding("layered_test_read_only") if is_mariadb else nullcontext():
        await store.clear()
        yield store
        await store.assert_sound()
