"""The pytest plugin of layered-backend, which nobody imports: its fixtures are there once the package is installed.

It loads nothing of the library until a test asks for a fixture, so it costs a project nothing that does not use it. What
the fixtures do is in `layered_backend.testing`; a project overrides those that name its own parts: `app`, `metadata`,
`unit_of_work_class`, `database_url`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import httpx2
    from sqlalchemy import MetaData

    from layered_backend import Database, UnitOfWork
    from layered_backend.testing import CapturedHooks

try:
    import pytest_asyncio
except ModuleNotFoundError:  # the package is there, and this extra of it is not
    pytest_asyncio = None  # type: ignore[assignment]  # what is missing is said where it is needed


class _Function(Protocol):
    __name__: str

    def __call__(self, *arguments: Any, **options: Any) -> Any: ...


def asynchronous(function: _Function) -> Any:
    """Make a fixture of a coroutine, or one that says what to install for that."""
    if pytest_asyncio is not None:
        return pytest_asyncio.fixture(function)

    @pytest.fixture(name=function.__name__)
    def missing() -> None:
        pytest.fail(f"the fixture {function.__name__!r} needs: pip install 'layered-backend[testing]'", pytrace=False)

    return missing


__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what a project may say of its parts in its pytest configuration."""
    parser.addini("layered_app", "The application of the tests: shop.main:app")
    parser.addini("layered_unit_of_work", "The class of the tests' units of work: shop.unit_of_work:ShopUnitOfWork")


@pytest.fixture(scope="session")
def unit_of_work_class(pytestconfig: pytest.Config) -> Any:
    """The class of `uow`: what `layered_unit_of_work` names, else one without declared repositories."""
    return resolve_name(pytestconfig.getini("layered_unit_of_work") or "layered_backend:UnitOfWork")


@pytest.fixture(scope="session")
def metadata() -> MetaData:
    """The tables of the tests: those of `Base`."""
    from layered_backend import Base

    return Base.metadata


@pytest.fixture(scope="session")
def database_url() -> str:
    """Return the URL of the tests' database: TEST_DATABASE_URL, else one in memory."""
    from layered_backend.testing.fixtures import url_of_tests

    return url_of_tests()


@pytest.fixture(scope="session")
def prepared_database(database_url: str, metadata: MetaData) -> Generator[Database]:
    """The database of the tests, with its tables: for `async with`."""
    from layered_backend.testing.fixtures import prepared

    with prepared(database_url, metadata) as database:
        yield database


@pytest.fixture(scope="session")
def prepared_database_sync(database_url: str, metadata: MetaData) -> Generator[Database]:
    """The database of the tests, with its tables: for `with`."""
    from layered_backend.testing.fixtures import prepared_sync

    with prepared_sync(database_url, metadata) as database:
        yield database


@asynchronous
async def database(prepared_database: Database, unit_of_work_class: type[UnitOfWork]) -> AsyncGenerator[Database]:
    """The database of the code under test, in one transaction that is rolled back after the test."""
    from layered_backend.testing.fixtures import isolated

    async with isolated(prepared_database, unit_of_work_class) as database:
        yield database


@pytest.fixture
def database_sync(prepared_database_sync: Database, unit_of_work_class: type[UnitOfWork]) -> Generator[Database]:
    """Return the same as `database`, for tests without an event loop."""
    from layered_backend.testing.fixtures import isolated_sync

    with isolated_sync(prepared_database_sync, unit_of_work_class) as database:
        yield database


@asynchronous
async def committed_database(
    prepared_database: Database, metadata: MetaData, unit_of_work_class: type[UnitOfWork]
) -> AsyncGenerator[Database]:
    """The database of the code under test, in which COMMIT commits; its tables are emptied after the test."""
    from layered_backend.testing.fixtures import committed

    async with committed(prepared_database, metadata, unit_of_work_class) as database:
        yield database


@asynchronous
async def uow(database: Database, unit_of_work_class: type[UnitOfWork]) -> AsyncGenerator[UnitOfWork]:
    """An open unit of work, which the code under test sees the rows of; nothing of it is saved."""
    from layered_backend.testing.fixtures import open_around_all

    async with open_around_all(unit_of_work_class, database) as uow:
        yield uow


@pytest.fixture
def uow_sync(database_sync: Database, unit_of_work_class: type[UnitOfWork]) -> Generator[UnitOfWork]:
    """Return the same as `uow`, for tests without an event loop."""
    from layered_backend.testing.fixtures import open_around_all_sync

    with open_around_all_sync(unit_of_work_class, database_sync) as uow:
        yield uow


@pytest.fixture(scope="session")
def app(pytestconfig: pytest.Config) -> Any:
    """The application of `client`: what `layered_app` names."""
    named = pytestconfig.getini("layered_app")
    if not named:
        pytest.fail(
            "which application? Define a fixture `app` in conftest.py, or write layered_app = shop.main:app in the "
            "configuration of pytest",
            pytrace=False,
        )
    return resolve_name(named)


@asynchronous
async def client(app: object, database: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of `app`, started, over `database`; what the application does not handle is raised in the test."""
    from layered_backend.testing import client_of
    from layered_backend.testing.clients import given_database

    with given_database(app, database):
        async with client_of(app) as client:
            yield client


@pytest.fixture
def seeded(database: Database) -> Any:
    """Return a function that seeds in the test's transaction: await it with seeders; it runs their dependencies too."""
    from layered_backend.testing import seed

    return partial(seed, database)


@pytest.fixture
def count_queries() -> Any:
    """The function `layered_backend.testing.count_queries`."""
    from layered_backend.testing import count_queries

    return count_queries


@pytest.fixture
def captured_hooks() -> Generator[CapturedHooks]:
    """The hooks that commits were to run; none runs by itself in a test that asks for them."""
    from layered_backend.testing import capture_hooks

    with capture_hooks() as hooks:
        yield hooks


@pytest.fixture
def mock_uow(unit_of_work_class: type[UnitOfWork]) -> UnitOfWork:
    """A unit of work without a database, whose repositories are mocks."""
    from layered_backend.testing import mock_uow

    return mock_uow(unit_of_work_class)
