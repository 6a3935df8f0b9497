"""A connection that is lost during COMMIT: nobody but the database knows what became of it, and nobody guesses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, text

from layered_backend import (
    CommitUnknownError,
    Database,
    DatabaseUnavailableError,
    Outcome,
    StatementTimeoutError,
    transact,
    transact_sync,
)
from tests.databases import ASYNC_BACKENDS, Backend, Shop, backends_of
from tests.faults.clusters import mariadb_cluster, or_skip, postgresql_cluster
from tests.faults.serving import serving
from tests.shop import Base, ShopUnitOfWork

Work = Callable[[ShopUnitOfWork], Awaitable[None]]

TIME_LIMIT = 30  # seconds
CLOSE = {"Connection": "close"}  # uvicorn closes a kept one after an error, under the next request
POSTGRESQL = [backend for backend in ASYNC_BACKENDS if backend.server == "postgresql"]
# Nothing waits for the standby that never comes, but for a transaction that asks to.
POSTGRESQL_SETTINGS = {"synchronous_standby_names": "nobody", "synchronous_commit": "local"}
# Likewise, while semi-synchronous replication is on.
MARIADB_OPTIONS = ("--log-bin=log", "--server-id=1", "--rpl-semi-sync-master-timeout=1000000")

PREPARATION: Mapping[str, tuple[str, ...]] = {
    "postgresql": (
        "CREATE TABLE stalls (id integer)",
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({TIME_LIMIT}); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON stalls INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION stall()",
    ),
    "mariadb": (),
}
OWN_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL CONNECTION {}"}
CALL_OFF = {"postgresql": "SELECT pg_cancel_backend({})", "mariadb": "KILL QUERY {}"}
STATE = {
    "postgresql": "SELECT wait_event FROM pg_stat_activity WHERE pid = {} AND query LIKE 'COMMIT%' AND state = 'active'",
    "mariadb": "SELECT state FROM information_schema.processlist WHERE id = {} AND info LIKE 'COMMIT%'",
}


@dataclass(frozen=True)
class Stall:
    """A way to make a COMMIT last.

    Attributes:
        inside: What the transaction itself does.
        before: What another connection does before the COMMIT.
        after: How it undoes that.
        state: What the database says that the COMMIT waits for.
        is_saved: Whether it has been carried out by then.
    """

    state: str
    is_saved: bool
    inside: str | None = None
    before: str | None = None
    after: str | None = None


STALLS: Mapping[str, Mapping[str, Stall]] = {
    "postgresql": {
        "before it is carried out": Stall("PgSleep", is_saved=False, inside="INSERT INTO stalls VALUES (1)"),
        "after it": Stall("SyncRep", is_saved=True, inside="SET LOCAL synchronous_commit = on"),
    },
    "mariadb": {
        "before it is carried out": Stall(
            "Waiting for backup lock", is_saved=False, before="FLUSH TABLES WITH READ LOCK", after="UNLOCK TABLES"
        ),
        "after it": Stall(
            "Waiting for semi-sync ACK from slave",
            is_saved=True,
            before="SET GLOBAL rpl_semi_sync_master_enabled = ON",
            after="SET GLOBAL rpl_semi_sync_master_enabled = OFF",
        ),
    },
}


class Clusters:
    """A server of each kind, started when a test first asks for it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._engines: dict[str, Engine] = {}

    def engine(self, server: str) -> Engine:
        """Return the test's own way to the database on *server*, with the tables of the test domain."""
        if server not in self._engines:
            engine = sqlalchemy.create_engine(self._start(server), isolation_level="AUTOCOMMIT")
            Base.metadata.create_all(engine)
            with engine.connect() as connection:
                for statement in PREPARATION[server]:
                    connection.execute(text(statement))
            self._engines[server] = engine
            self._stack.callback(engine.dispose)
        return self._engines[server]

    def _start(self, server: str) -> URL:
        if server == "mariadb":
            return self._stack.enter_context(mariadb_cluster(*MARIADB_OPTIONS))
        return self._stack.enter_context(postgresql_cluster(**POSTGRESQL_SETTINGS)).url


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    with ExitStack() as stack:
        yield Clusters(stack)


@pytest.fixture
def admin(clusters: Clusters, backend: Backend) -> Iterator[Connection]:
    """The test's own connection to the server of *backend*, with no rows."""
    with or_skip():
        engine = clusters.engine(backend.server)
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM items"))
        yield connection


@pytest.fixture
async def shop(admin: Connection, backend: Backend) -> AsyncGenerator[Shop]:
    url = admin.engine.url.set(drivername=f"{backend.server}+{backend.driver}")
    async with Database(url, pool_size=2, max_overflow=0) as database:
        shop = Shop(backend, database)
        yield shop
        assert shop.checked_out == 0, "a connection was not given back"


def end_commit(admin: Connection, server: str, numbers: list[int], stall: Stall, command: Mapping[str, str]) -> None:
    """Give *command* to the connection whose number comes to be in *numbers*, while it waits in its COMMIT."""
    deadline = time.monotonic() + TIME_LIMIT
    while not numbers or admin.scalar(text(STATE[server].format(numbers[0]))) != stall.state:
        assert time.monotonic() < deadline, "there was no such COMMIT"
        time.sleep(0.005)
    admin.execute(text(command[server].format(numbers[0])))


@asynccontextmanager
async def ended_commit(
    admin: Connection, server: str, stall: Stall, command: Mapping[str, str] = KILL
) -> AsyncGenerator[Work]:
    """Yield what a unit of work awaits last, so that *command* ends the COMMIT that follows."""
    numbers: list[int] = []

    async def prepare(uow: ShopUnitOfWork) -> None:
        if stall.inside:
            await uow.session.execute(text(stall.inside))
        number = await uow.session.scalar(text(OWN_NUMBER[server]))
        if stall.before:
            admin.execute(text(stall.before))
        numbers.append(number)  # from now on, the other thread uses the connection

    killing = asyncio.create_task(asyncio.to_thread(end_commit, admin, server, numbers, stall, command))
    try:
        yield prepare
    finally:
        await killing
        if stall.after:
            admin.execute(text(stall.after))


async def run_again(shop: Shop, work: Work) -> None:
    if shop.backend.asynchronous:
        await transact(shop.unit, work)
    else:
        await asyncio.to_thread(partial(transact_sync, shop.unit, work))


@pytest.mark.parametrize("moment", ["before it is carried out", "after it"])
@pytest.mark.parametrize("backend", backends_of("postgresql", "mariadb"), ids=str)
async def test_a_connection_lost_in_the_commit_leaves_the_outcome_unknown_and_is_not_run_again(
    shop: Shop, admin: Connection, moment: str
) -> None:
    stall = STALLS[shop.backend.server][moment]
    units: list[ShopUnitOfWork] = []
    hooks: list[int] = []

    async with ended_commit(admin, shop.backend.server, stall) as prepare:

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            uow.on_commit(lambda: hooks.append(1))
            await uow.items.create({"name": "tea", "price": 1})
            await prepare(uow)

        with pytest.raises(CommitUnknownError, match="not known") as caught:
            await run_again(shop, work)

    assert isinstance(caught.value.__cause__, DatabaseUnavailableError)
    assert [unit.outcome for unit in units] == [Outcome.UNKNOWN]
    assert hooks == []
    assert shop.checked_out == 0
    saved = ["tea"] if stall.is_saved else []
    assert await shop.names() == saved
    await shop.run(lambda uow: uow.items.create({"name": "coffee", "price": 1}))
    assert await shop.run(lambda uow: uow.items.count()) == len(saved) + 1


@pytest.mark.parametrize("backend", backends_of("postgresql", "mariadb"), ids=str)
async def test_in_a_commit_in_mid_block_it_cannot_be_ignored(shop: Shop, admin: Connection) -> None:
    units: list[ShopUnitOfWork] = []
    stall = STALLS[shop.backend.server]["after it"]

    async with ended_commit(admin, shop.backend.server, stall) as prepare:

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await uow.items.create({"name": "tea", "price": 1})
            await prepare(uow)
            with pytest.raises(CommitUnknownError):
                await uow.commit()

        with pytest.raises(CommitUnknownError, match="not known"):
            await shop.run(work)

    assert [unit.outcome for unit in units] == [Outcome.UNKNOWN]
    assert await shop.run(lambda uow: uow.items.count()) == 1


@pytest.mark.parametrize("backend", backends_of("postgresql", "mariadb"), ids=str)
async def test_a_commit_that_is_called_off_is_known_to_be_undone(shop: Shop, admin: Connection) -> None:
    server = shop.backend.server
    stall = STALLS[server]["before it is carried out"]
    units: list[ShopUnitOfWork] = []

    async with ended_commit(admin, server, stall, CALL_OFF) as prepare:

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            await uow.items.create({"name": "tea", "price": 1})
            await prepare(uow)

        with pytest.raises(StatementTimeoutError):
            await run_again(shop, work)

    assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK]
    assert await shop.run(lambda uow: uow.items.count()) == 0


@pytest.mark.parametrize("backend", POSTGRESQL, ids=str)
async def test_a_client_is_told_nothing_of_it_but_that_something_failed(
    shop: Shop, admin: Connection, tmp_path: Path
) -> None:
    stall = STALLS["postgresql"]["after it"]
    url = shop.database.url.render_as_string()
    admin.execute(text("ALTER DATABASE postgres SET synchronous_commit = on"))
    try:
        with serving("tests.faults.application:app", tmp_path / "server.log", {"LAYERED_TEST_URL": url}) as server:
            async with server.client() as client:
                answering = asyncio.create_task(client.post("/items", json={"name": "tea", "price": 1}, headers=CLOSE))
                numbers = await asyncio.to_thread(_waiting, admin, stall)
                end_commit(admin, "postgresql", numbers, stall, KILL)
                answer = await answering
                checked_out = (await client.get("/checked-out")).json()
    finally:
        admin.execute(text("ALTER DATABASE postgres RESET synchronous_commit"))

    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
    assert "Retry-After" not in answer.headers
    assert server.log.count("\nlayered_backend.errors.CommitUnknownError: ") == 1
    assert checked_out == 0
    assert await shop.run(lambda uow: uow.items.count()) == 1


def _waiting(admin: Connection, stall: Stall) -> list[int]:
    """Wait until connections wait in their COMMIT, and return their numbers."""
    waiting = text("SELECT pid FROM pg_stat_activity WHERE wait_event = :state")
    deadline = time.monotonic() + TIME_LIMIT
    while not (numbers := list(admin.scalars(waiting, {"state": stall.state}))):
        assert time.monotonic() < deadline, "there was no such COMMIT"
        time.sleep(0.005)
    return numbers
