"""The plugin, as a project uses it whose tests are none of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from layered_backend import Database
from tests.databases import MUST_HAVE_SERVERS, SERVERS, ServerMissingError, own_database

# pytester forgets the modules that a run inside this process has imported. These must not be imported a second time.
for _name in (
    "aiosqlite",
    "asyncmy",
    "asyncpg",
    "layered_backend.dialects.mysql",
    "layered_backend.dialects.postgresql",
    "layered_backend.dialects.sqlite",
    "layered_backend.fastapi",
    "psycopg",
    "pymysql",
    "sqlalchemy.dialects.mysql.asyncmy",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
):
    import_module(_name)

pytest_plugins = ["pytester"]

_PLUGINS = ("-p", "pytest_layered_backend", "-p", "no:schemathesis")  # which takes more than a second to import

SHOP = """
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from layered_backend import (
    BaseRepository, BaseService, Database, IntegerPrimaryKey, Seeder, UnitOfWork, get_service, install, ref,
)


class Base(DeclarativeBase):
    pass


class Category(IntegerPrimaryKey, Base):
    __tablename__ = "categories"
    name: Mapped[str] = mapped_column(String(50), unique=True)


class Item(IntegerPrimaryKey, Base):
    __tablename__ = "items"
    name: Mapped[str] = mapped_column(String(50), unique=True)
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))


class ItemRepository(BaseRepository[Item]):
    pass


database = Database("sqlite:////nowhere/at/all.db")


class ShopUnitOfWork(UnitOfWork):
    database = database
    items: ItemRepository


class ItemService(BaseService[Item, ItemRepository]):
    async def create(self, data):
        self.uow.on_commit(lambda: told.append(data["name"]))
        return await super().create(data)


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self):
        yield {"name": "drinks"}


class ItemSeeder(Seeder[Item]):
    key = (Item.name,)
    depends_on = (CategorySeeder,)

    def rows(self):
        yield {"name": "tea", "category_id": ref(CategorySeeder, "drinks")}


told = []
app = FastAPI()
install(app, ShopUnitOfWork)
Service = Annotated[ItemService, Depends(get_service(ItemService))]


@app.post("/items/{name}")
async def create_item(name: str, service: Service) -> int:
    return (await service.create({"name": name})).id


@app.get("/items")
async def count_items(service: Service) -> int:
    return await service.count()


@app.get("/broken")
async def broken() -> None:
    raise ZeroDivisionError
"""

CONFTEST = """
import pytest
import shop

@pytest.fixture(scope="session")
def metadata():
    return shop.Base.metadata
"""

INI = """
[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
layered_app = shop:app
layered_unit_of_work = shop:ShopUnitOfWork
pythonpath = .
filterwarnings = error
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(params=["auto", "strict"])
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests of a shop of its own."""
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    pytester.makepyfile(shop=SHOP)
    pytester.makeconftest(CONFTEST)

    def run(tests: str, *arguments: str, mode: str = "auto") -> pytest.RunResult:
        pytester.makeini(INI.format(mode=mode))
        marked = "import pytest, shop\nfrom layered_backend.testing import *\npytestmark = pytest.mark.asyncio\n"
        pytester.makepyfile(test_shop=marked + tests)
        return pytester.runpytest_inprocess(*_PLUGINS, *arguments)

    return run


ISOLATED = """
@pytest.mark.parametrize("time", [1, 2])
class TestEachTestBeginsWithNothing:
    async def test_the_client(self, client, time):
        assert (await client.post("/items/tea")).status_code == 200
        assert (await client.post("/items/tea")).status_code == 409
        assert (await client.get("/items")).json() == 1

    async def test_the_unit_of_work(self, uow, client, time):
        await uow.items.create({"name": "tea"})
        assert (await client.get("/items")).json() == 1
        assert (await client.post("/items/milk")).status_code == 200
        assert await uow.items.count() == 2
        await uow.commit()

    async def test_code_that_opens_its_own(self, database, time):
        for name in ("tea", "milk"):
            async with shop.ShopUnitOfWork() as uow:
                await uow.items.create({"name": name})
        async with shop.ShopUnitOfWork() as uow:
            assert await uow.items.count() == 2

    async def test_seeders(self, seeded, uow, time):
        await seeded(shop.ItemSeeder)
        assert (await uow.items.one()).category_id is not None

    async def test_two_at_once(self, client, time):
        import asyncio
        answers = await asyncio.gather(*(client.post(f"/items/tea{number}") for number in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5
        assert (await client.get("/items")).json() == 5
"""


def test_each_test_begins_with_nothing(run: Run, mode: str) -> None:
    run(ISOLATED, mode=mode).assert_outcomes(passed=10)


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_named_by_its_url(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with own_database(server) as url:
            plain = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
            monkeypatch.setenv("TEST_DATABASE_URL", plain)
            run(ISOLATED).assert_outcomes(passed=10)
            with Database(url) as database, database.sync_engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM items").scalar() == 0
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


COMMITTED = """
@pytest.mark.parametrize("time", [1, 2])
async def test_committed(committed_database, time):
    import asyncio

    async def work(name):
        async with shop.ShopUnitOfWork() as uow:
            await uow.items.create({"name": name})

    await asyncio.gather(*(work(f"tea {number}") for number in range(5)))
    async with shop.ShopUnitOfWork() as uow:
        assert await uow.items.count() == 5
"""

OF_EACH_PROCESS = """

@pytest.fixture(scope="session")
def database_url(worker_id):
    return os.environ[f"URL_OF_{worker_id}"]
"""


def _run_in_two_processes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str) -> None:
    """Run all of *tests* in each of two processes of pytest-xdist at the same time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the others take most of the time to start
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(test_shop="import pytest, shop\nfrom layered_backend.testing import *\n" + tests)
    plugins = ("xdist.plugin", "pytest_asyncio.plugin", "pytest_layered_backend")
    chosen = [argument for plugin in plugins for argument in ("-p", plugin)]
    result = pytester.runpytest_subprocess(*chosen, "-n", "2", "--dist", "each")
    result.assert_outcomes(passed=2 * 12)


@pytest.mark.slow
def test_two_processes_of_xdist_have_each_a_database_in_memory(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run_in_two_processes(pytester, monkeypatch, ISOLATED + COMMITTED)


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_two_processes_of_xdist_have_each_a_database_on_a_server(
    pytester: pytest.Pytester, run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(f"import os\n{CONFTEST}{OF_EACH_PROCESS}")
    try:
        with own_database(server) as one, own_database(server) as other:
            for worker, url in (("gw0", one), ("gw1", other)):
                plain = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
                monkeypatch.setenv(f"URL_OF_{worker}", plain)
            _run_in_two_processes(pytester, monkeypatch, ISOLATED + COMMITTED)
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


def test_tests_without_an_event_loop_have_their_own(run: Run) -> None:
    result = run(
        """
@pytest.mark.parametrize("time", [1, 2])
def test_sync(uow_sync, time):
    uow_sync.run(uow_sync.items.create({"name": "tea"}))
    with shop.ShopUnitOfWork() as uow:
        assert uow.run(uow.items.count()) == 1
        uow.run(uow.items.create({"name": "milk"}))
    assert uow_sync.run(uow_sync.items.count()) == 2
""",
        "-W",
        "ignore::pytest.PytestWarning",
    )

    result.assert_outcomes(passed=2)


def test_queries_are_counted_and_printed_where_there_are_too_many(run: Run) -> None:
    result = run("""
async def test_few(uow, count_queries):
    with count_queries(2) as queries:
        await uow.items.count()
        await uow.items.exists()
    assert "SELECT" in queries[0]

async def test_many(uow, count_queries):
    with count_queries(at_most=1):
        await uow.items.create({"name": "tea"})
        for _ in range(3):
            await uow.items.count()

async def test_too_few(uow, count_queries):
    with count_queries(2):
        await uow.items.count()
""")

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*AssertionError: 4 queries were sent, more than 1:", "*1 x  INSERT INTO items*", "*3 x  SELECT count*"]
    )
    result.stdout.fnmatch_lines(["*AssertionError: 1 query was sent, not 2:", "*1 x  SELECT count*"])


def test_hooks_run_with_the_commit_or_are_captured(run: Run) -> None:
    result = run("""
async def test_run(client):
    await client.post("/items/tea")
    assert shop.told == ["tea"]

async def test_captured(client, captured_hooks):
    shop.told.clear()
    await client.post("/items/tea")
    assert (len(captured_hooks), shop.told) == (1, [])
    await captured_hooks.run()
    assert shop.told == ["tea"]

async def test_not_of_the_tests_own_unit_of_work(uow):
    shop.told.clear()
    uow.on_commit(lambda: shop.told.append("never"))

async def test_and_so(uow):
    assert shop.told == []
""")

    result.assert_outcomes(passed=4)


def test_an_error_of_the_application_is_raised_in_the_test(run: Run) -> None:
    result = run("""
async def test_raised(client):
    with pytest.raises(ZeroDivisionError):
        await client.get("/broken")

async def test_answered(database):
    async with client_of(shop.app, raise_errors=False) as client:
        assert (await client.get("/broken")).json() == {"detail": "Internal server error"}
""")

    result.assert_outcomes(passed=2)


def test_the_mock_of_the_projects_own_class(run: Run) -> None:
    result = run("""
async def test_mock(mock_uow):
    mocked(mock_uow.items.create).return_value = shop.Item(id=7)
    assert (await shop.ItemService.of(mock_uow).create({"name": "tea"})).id == 7

async def test_wrong(mock_uow):
    await mock_uow.items.get_by_name("tea")
""")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AttributeError: Mock object has no attribute 'get_by_name'*"])


def test_what_must_commit_does_and_is_emptied(run: Run) -> None:
    result = run(COMMITTED)

    result.assert_outcomes(passed=2)


def test_an_application_that_fails_to_start_fails_the_test(run: Run) -> None:
    result = run("""
@pytest.fixture
def app():
    from contextlib import asynccontextmanager
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app):
        raise ZeroDivisionError
        yield
    return FastAPI(lifespan=lifespan)

async def test_never(client):
    pass
""")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the application failed to start*"])


def test_the_state_of_the_lifespan_is_that_of_the_requests(run: Run) -> None:
    result = run("""
@pytest.fixture
def app():
    from contextlib import asynccontextmanager
    from fastapi import FastAPI, Request

    @asynccontextmanager
    async def lifespan(app):
        yield {"word": "tea"}
    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def word(request: Request) -> str:
        return request.state.word
    return app

async def test_state(client):
    assert (await client.get("/")).json() == "tea"
""")

    result.assert_outcomes(passed=1)


def test_a_missing_application_says_what_to_write(pytester: pytest.Pytester, run: Run) -> None:
    ini = pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_alone="async def test_it(client):\n    pass")
    result = pytester.runpytest_inprocess(*_PLUGINS, "-c", ini)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["which application? Define a fixture `app` in conftest.py, *"])


def test_it_loads_nothing_of_the_library_by_itself(pytester: pytest.Pytester) -> None:
    program = (
        "import sys, pytest_layered_backend\n"
        "print({'layered_backend', 'sqlalchemy', 'fastapi', 'pydantic', 'httpx2'} & set(sys.modules))\n"
    )
    source = Path(sys.modules["pytest_layered_backend"].__path__[0]).parent
    result = pytester.run(sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{program}")

    assert result.outlines == ["set()"]
