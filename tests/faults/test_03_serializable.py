"""Guarantee 3: what the database undid for a reason that passes is run again, whole, and nothing else is."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, event, text

from layered_backend import (
    CommitUnknownError,
    Database,
    DatabaseUnavailableError,
    DeadlockError,
    LockTimeoutError,
    NotFoundError,
    Outcome,
    RolledBackError,
    SerializationFailureError,
    StaleError,
    TransientError,
    UniqueViolationError,
    UnitOfWorkError,
    transact,
    transact_sync,
)
from layered_backend.unit_of_work import rerun
from tests.databases import ASYNC_BACKENDS, Backend, Shop, backends_of, database_at
from tests.faults.clusters import mariadb_cluster, or_skip
from tests.shop import Base, ShopUnitOfWork

Work = Callable[[ShopUnitOfWork], Awaitable[Any]]

ON_SERVERS = [backend for backend in ASYNC_BACKENDS if backend.server != "sqlite"]
ON_POSTGRESQL = [backend for backend in ASYNC_BACKENDS if backend.server == "postgresql"]
INCREMENTERS, INCREMENTS = 8, 10
ADD = text("UPDATE meters SET reading = reading + :amount WHERE serial_no = :serial")
TIME_LIMIT = 30  # seconds


async def run_again(shop: Shop, unit: Callable[[], ShopUnitOfWork], work: Work, **options: Any) -> Any:
    """Run *work* in `transact`, with an event loop or in a thread without one."""
    if shop.backend.asynchronous:
        return await transact(unit, work, **options)
    return await asyncio.to_thread(partial(transact_sync, unit, work, **options))


async def set_meters(shop: Shop, *readings: int) -> None:
    """Make the meters 1, 2, ... with *readings*."""
    rows = [{"serial": serial, "reading": reading} for serial, reading in enumerate(readings, start=1)]

    async def create(uow: ShopUnitOfWork) -> None:
        for row in rows:
            await uow.meters.create(row)

    await shop.run(create)


async def meters(shop: Shop) -> list[int]:
    """Return the readings of the meters 1, 2, ..."""
    return [meter.reading for meter in await shop.run(lambda uow: uow.meters.list())]


async def add(uow: ShopUnitOfWork, serial: int, amount: int) -> None:
    """Add *amount* to a meter, in one statement that reads nothing first."""
    await uow.session.execute(ADD, {"serial": serial, "amount": amount})


def add_outside(connection: Connection, serial: int, amount: int) -> None:
    connection.execute(ADD, {"serial": serial, "amount": amount})


@contextmanager
def outside(shop: Shop) -> Generator[Engine]:
    """Yield a way to the database of *shop* that shares nothing with it."""
    engine = sqlalchemy.create_engine(shop.database.sync_url, poolclass=sqlalchemy.NullPool)
    yield engine
    engine.dispose()


class TestWriteSkew:
    """Two transactions that read both rows and write one each: either could come first, but not both (PostgreSQL)."""

    @pytest.mark.parametrize("async_shop", ON_POSTGRESQL, indirect=True, ids=str)
    async def test_it_fails_at_the_commit(self, async_shop: Shop) -> None:
        await set_meters(async_shop, 1, 1)
        steps: list[str] = []

        def on_commit(connection: Connection) -> None:
            steps.append("COMMIT")

        event.listen(async_shop.database.engine.sync_engine, "commit", on_commit)
        earlier, later = (async_shop.unit(isolation_level="SERIALIZABLE") for _ in range(2))

        with pytest.raises(SerializationFailureError) as caught:
            async with later:
                await later.meters.list()
                await later.meters.update(1, {"reading": 0})
                async with earlier:
                    await earlier.meters.list()
                    await earlier.meters.update(2, {"reading": 0})
                await later.flush()
                steps.append("all is flushed")

        assert steps == ["COMMIT", "all is flushed", "COMMIT"]
        assert getattr(caught.value.__cause__, "sqlstate", None) == "40001"
        assert (earlier.outcome, later.outcome) == (Outcome.COMMITTED, Outcome.ROLLED_BACK)
        assert await meters(async_shop) == [1, 0]

    @pytest.mark.parametrize("async_shop", ON_POSTGRESQL, indirect=True, ids=str)
    async def test_transact_runs_the_one_that_lost_again(self, async_shop: Shop) -> None:
        await set_meters(async_shop, 1, 1)
        both_have_read, both_have_written = asyncio.Barrier(2), asyncio.Barrier(2)
        units: dict[int, list[ShopUnitOfWork]] = {1: [], 2: []}
        hooks: list[tuple[int, int]] = []

        async def leave_one(serial: int, uow: ShopUnitOfWork) -> str:
            units[serial].append(uow)
            attempt = len(units[serial])
            uow.on_commit(lambda: hooks.append((serial, attempt)))
            in_use = sum(meter.reading for meter in await uow.meters.list())
            if attempt == 1:
                await both_have_read.wait()
            if in_use == 2:
                await uow.meters.update(serial, {"reading": 0})
            await uow.flush()
            if attempt == 1:
                await both_have_written.wait()
            return f"saw {in_use}"

        serializable = partial(async_shop.unit, isolation_level="SERIALIZABLE")
        seen = await asyncio.gather(*(transact(serializable, partial(leave_one, serial)) for serial in (1, 2)))

        assert sorted(seen) == ["saw 1", "saw 2"]
        assert sorted(await meters(async_shop)) == [0, 1], "one is left"
        loser, winner = sorted(units, key=lambda serial: -len(units[serial]))
        assert [unit.outcome for unit in units[loser]] == [Outcome.ROLLED_BACK, Outcome.COMMITTED]
        assert [unit.outcome for unit in units[winner]] == [Outcome.COMMITTED]
        assert hooks == [(winner, 1), (loser, 2)]


@pytest.fixture
async def wide_shop(async_shop: Shop) -> AsyncGenerator[Shop]:
    """The same database, with a connection for each of those who work on it at once."""
    async with database_at(async_shop.database.url, pool_size=INCREMENTERS, max_overflow=0) as database:
        shop = Shop(async_shop.backend, database)
        yield shop
        assert shop.checked_out == 0


async def test_eighty_contested_increments_are_eighty(wide_shop: Shop) -> None:
    await set_meters(wide_shop, 0)
    all_have_read = asyncio.Barrier(INCREMENTERS)
    runs: list[str] = []
    hooks: list[str] = []

    async def increment(name: str, uow: ShopUnitOfWork) -> None:
        uow.on_commit(lambda: hooks.append(name))
        meter = await uow.meters.get(1)
        runs.append(name)
        if len(runs) <= INCREMENTERS and wide_shop.backend.server != "sqlite":  # where only one would get so far
            await all_have_read.wait()
        await uow.meters.update(meter, {"reading": meter.reading + 1})

    async def increment_often(task: int) -> None:
        serializable = partial(wide_shop.unit, isolation_level="SERIALIZABLE")
        for number in range(INCREMENTS):
            await transact(serializable, partial(increment, f"{task}-{number}"), attempts=1000)

    await asyncio.gather(*(increment_often(task) for task in range(INCREMENTERS)))

    assert await meters(wide_shop) == [INCREMENTERS * INCREMENTS]
    assert sorted(hooks) == sorted(f"{task}-{number}" for task in range(INCREMENTERS) for number in range(INCREMENTS))
    if wide_shop.backend.server != "sqlite":
        assert len(runs) >= 2 * INCREMENTERS - 1, "all but one of those who read at the same time are run again"


@pytest.fixture
async def contested(shop: Shop) -> AsyncGenerator[Shop]:
    """A database with the meter 1, which tells a transaction that a row has changed since it was read.

    MariaDB does so from version 11.6; an older one must be asked to.
    """
    options: dict[str, Any] = {}
    if shop.backend.server == "mariadb":
        options["connect_args"] = {"init_command": "SET innodb_snapshot_isolation = ON"}
    async with database_at(shop.database.url, pool_size=2, max_overflow=0, **options) as database:
        contested = Shop(shop.backend, database)
        await set_meters(contested, 0)
        yield contested
        assert contested.checked_out == 0


def repeatable(shop: Shop) -> ShopUnitOfWork:
    """Return a unit of work that reads one state of the database, and writes late."""
    uow = shop.unit(isolation_level="REPEATABLE READ")
    uow.begins_deferred = True
    return uow


async def conflict(shop: Shop, uow: ShopUnitOfWork) -> None:
    """Update a row that has changed since *uow* read it."""
    await uow.meters.get(1)
    with outside(shop) as engine, engine.begin() as connection:
        add_outside(connection, 1, 10)
    await add(uow, 1, 1)


async def let_out(shop: Shop, uow: ShopUnitOfWork) -> None:
    await conflict(shop, uow)


async def catch(shop: Shop, uow: ShopUnitOfWork) -> None:
    with pytest.raises(SerializationFailureError):
        await conflict(shop, uow)


async def catch_and_go_on(shop: Shop, uow: ShopUnitOfWork) -> None:
    await catch(shop, uow)
    await uow.items.count()


async def catch_inside_a_savepoint(shop: Shop, uow: ShopUnitOfWork) -> None:
    async with uow.savepoint():
        await catch(shop, uow)


async def catch_in_a_joined_block(shop: Shop, uow: ShopUnitOfWork) -> None:
    with pytest.raises(SerializationFailureError):
        async with uow:
            await conflict(shop, uow)


class TestConflicts:
    """A row that has changed since it was read, on every database."""

    @pytest.mark.parametrize("fail", [let_out, catch, catch_and_go_on, catch_inside_a_savepoint])
    async def test_it_is_run_again_from_nothing_whether_the_work_lets_it_out_or_not(
        self, contested: Shop, fail: Callable[[Shop, ShopUnitOfWork], Awaitable[None]]
    ) -> None:
        units: list[ShopUnitOfWork] = []
        hooks: list[int] = []

        async def work(uow: ShopUnitOfWork) -> str:
            units.append(uow)
            attempt = len(units)
            uow.on_commit(lambda: hooks.append(attempt))
            if attempt == 1:
                await fail(contested, uow)
            await add(uow, 1, 1)
            await uow.items.create({"name": "tea", "price": attempt})
            return f"attempt {attempt}"

        assert await run_again(contested, partial(repeatable, contested), work) == "attempt 2"

        assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK, Outcome.COMMITTED]
        assert hooks == [2]
        assert await meters(contested) == [11]
        assert await contested.names() == ["tea"]

    @pytest.mark.parametrize("shop", ASYNC_BACKENDS, indirect=True, ids=str)
    async def test_it_is_run_again_where_a_joined_block_let_it_out(self, contested: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            if len(attempts) == 1:
                await catch_in_a_joined_block(contested, uow)

        await run_again(contested, partial(repeatable, contested), work)

        assert len(attempts) == 2

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_on_mariadb_it_undoes_all_whatever_savepoint_it_came_in(self, contested: Shop) -> None:
        await _caught_around_a_savepoint_it_undoes_all(contested, SerializationFailureError, conflict, repeatable)


LOCK_WAIT = text(
    "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = :number AND trx_state = 'LOCK WAIT'"
)


@contextmanager
def heavy_partner(shop: Shop) -> Generator[Callable[[], None]]:
    """Lock the meter 1 in a transaction that is too heavy to be a deadlock's victim; yield how to wait for the meter 2."""
    with outside(shop) as engine, engine.connect() as connection, engine.connect() as observer:
        add_outside(connection, 1, 10)
        rows = [{"code": str(number)} for number in range(50)]
        connection.execute(text("INSERT INTO countries (code, name) VALUES (:code, '')"), rows)
        number = connection.scalar(text("SELECT CONNECTION_ID()"))
        waiting = threading.Thread(target=add_outside, args=(connection, 2, 10))

        def wait_for_the_other() -> None:
            waiting.start()
            deadline = time.monotonic() + TIME_LIMIT
            while not observer.scalar(LOCK_WAIT, {"number": number}):
                assert time.monotonic() < deadline
                observer.rollback()
                # The server looks again when nobody has asked for 0.1 seconds: two who ask in step would never see it.
                time.sleep(random.uniform(0.11, 0.4))  # noqa: S311  # seconds

        try:
            yield wait_for_the_other
        finally:
            waiting.join(TIME_LIMIT)
            connection.rollback()


async def deadlock(shop: Shop, uow: ShopUnitOfWork) -> None:
    """Be the victim of a deadlock over the meters 1 and 2."""
    await add(uow, 2, 1)
    with heavy_partner(shop) as wait_for_the_other:
        wait_for_the_other()
        await add(uow, 1, 1)


async def _caught_around_a_savepoint_it_undoes_all(
    shop: Shop,
    error: type[TransientError],
    fail: Callable[[Shop, ShopUnitOfWork], Awaitable[None]],
    unit: Callable[[Shop], ShopUnitOfWork],
) -> None:
    """Show that *error* in a savepoint is refused at the end, and run again by `transact`."""
    attempts: list[int] = []

    async def work(uow: ShopUnitOfWork) -> None:
        attempts.append(1)
        await uow.items.create({"name": f"before {len(attempts)}", "price": 1})
        if len(attempts) < 3:
            with pytest.raises(error):
                async with uow.savepoint():
                    await fail(shop, uow)
        async with uow.savepoint():
            await uow.items.create({"name": f"after {len(attempts)}", "price": 1})

    with pytest.raises(RolledBackError) as caught:
        await run_again(shop, partial(unit, shop), work, attempts=1)
    assert isinstance(caught.value.__cause__, error)
    assert await shop.names() == []

    await run_again(shop, partial(unit, shop), work)

    assert len(attempts) == 3
    assert await shop.names() == ["before 3", "after 3"]


class TestDeadlocks:
    @pytest.mark.parametrize("async_shop", ON_SERVERS, indirect=True, ids=str)
    async def test_the_victim_is_run_again(self, async_shop: Shop) -> None:
        await set_meters(async_shop, 0, 0)
        both_have_one = asyncio.Barrier(2)
        runs: list[int] = []

        async def take_both(first: int, second: int, uow: ShopUnitOfWork) -> None:
            runs.append(first)
            if async_shop.backend.server == "postgresql":
                await uow.session.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            await add(uow, first, 1)
            if len(runs) <= 2:
                await both_have_one.wait()
            await add(uow, second, 1)

        await asyncio.gather(*(transact(async_shop.unit, partial(take_both, *pair)) for pair in ((1, 2), (2, 1))))

        assert len(runs) > 2, "one of the two had to begin again"
        assert await meters(async_shop) == [2, 2]

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_on_mariadb_it_undoes_all_whatever_savepoint_it_came_in(self, shop: Shop) -> None:
        await set_meters(shop, 0, 0)
        await _caught_around_a_savepoint_it_undoes_all(shop, DeadlockError, deadlock, Shop.unit)

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_on_mariadb_a_flush_in_a_savepoint_tells_of_it_and_not_of_the_savepoint(self, shop: Shop) -> None:
        await set_meters(shop, 0, 0)

        async def work(uow: ShopUnitOfWork) -> None:
            await add(uow, 2, 1)
            first = await uow.meters.get(1)
            with heavy_partner(shop) as wait_for_the_other:
                wait_for_the_other()
                async with uow.savepoint():
                    await uow.meters.update(first, {"reading": 7})

        with pytest.raises(DeadlockError) as caught:
            await shop.run(work)
        assert "try again" in str(caught.value)

    @pytest.mark.parametrize("depth", [1, 2])
    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_on_mariadb_the_end_of_a_savepoint_that_is_gone_tells_why(self, shop: Shop, depth: int) -> None:
        await set_meters(shop, 0, 0)
        attempts: list[int] = []

        async def caught_inside(uow: ShopUnitOfWork) -> None:
            with pytest.raises(DeadlockError):
                await deadlock(shop, uow)

        async def caught_inside_the_outer(uow: ShopUnitOfWork) -> None:
            with pytest.raises(DeadlockError):
                async with uow.savepoint():
                    await deadlock(shop, uow)

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            if len(attempts) < 3:
                async with uow.savepoint():
                    await (caught_inside if depth == 1 else caught_inside_the_outer)(uow)

        with pytest.raises(RolledBackError) as caught:
            await run_again(shop, shop.unit, work, attempts=1)
        assert isinstance(caught.value.__cause__, DeadlockError)

        await run_again(shop, shop.unit, work)

        assert len(attempts) == 3


@contextmanager
def locked_meter(shop: Shop) -> Generator[None]:
    """Keep the meter 1 locked until the block ends."""
    with outside(shop) as engine, engine.connect() as connection:
        add_outside(connection, 1, 10)
        yield


IMPATIENT: dict[str, Any] = {"connect_args": {"init_command": "SET innodb_lock_wait_timeout = 1"}}  # second


class TestLockTimeouts:
    """On MariaDB, which undoes only the statement and would save the rest."""

    @pytest.fixture
    async def impatient(self, shop: Shop) -> AsyncGenerator[Shop]:
        """A database with the meter 1, where a lock is waited for no longer than a second."""
        async with Database(shop.database.url, pool_size=2, max_overflow=0, **IMPATIENT) as database:
            impatient = Shop(shop.backend, database)
            await set_meters(impatient, 0)
            yield impatient
            assert impatient.checked_out == 0

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    @pytest.mark.parametrize("is_caught", [False, True])
    async def test_nothing_is_saved_and_the_work_is_run_again(self, impatient: Shop, is_caught: bool) -> None:
        units: list[ShopUnitOfWork] = []
        hooks: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            attempt = len(units)
            uow.on_commit(lambda: hooks.append(attempt))
            await uow.items.create({"name": f"attempt {attempt}", "price": 1})
            if attempt == 1:
                with locked_meter(impatient):
                    try:
                        await add(uow, 1, 1)
                    except LockTimeoutError:
                        assert await uow.items.count() == 1, "the server has kept the rest"
                        if not is_caught:
                            raise

        await run_again(impatient, impatient.unit, work)

        assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK, Outcome.COMMITTED]
        assert hooks == [2]
        assert await impatient.names() == ["attempt 2"]

    @pytest.mark.parametrize("shop", backends_of("mariadb"), indirect=True, ids=str)
    async def test_around_a_savepoint_the_rest_is_saved(self, impatient: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await uow.items.create({"name": "before", "price": 1})
            with locked_meter(impatient), pytest.raises(LockTimeoutError):
                async with uow.savepoint():
                    await uow.items.create({"name": "inside", "price": 1})
                    await add(uow, 1, 1)
            await uow.items.create({"name": "after", "price": 1})

        await run_again(impatient, impatient.unit, work, attempts=1)

        assert await impatient.names() == ["before", "after"]
        assert await meters(impatient) == [0]

    async def test_a_server_that_rolls_back_on_a_timeout_is_not_trusted_with_the_rest(self) -> None:
        with or_skip(), mariadb_cluster("--innodb-rollback-on-timeout=ON") as url:
            backend = Backend("mariadb", "asyncmy")
            async with Database(url.set(drivername="mariadb+asyncmy"), pool_size=2, **IMPATIENT) as database:
                await database.create_all(Base.metadata)
                shop = Shop(backend, database)
                await set_meters(shop, 0)
                await _caught_around_a_savepoint_it_undoes_all(shop, LockTimeoutError, _time_out, Shop.unit)
                assert shop.checked_out == 0


async def _time_out(shop: Shop, uow: ShopUnitOfWork) -> None:
    with locked_meter(shop):
        await add(uow, 1, 1)


class TestWhatIsNotTransient:
    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError(),
            NotFoundError("Item", 1),
            UniqueViolationError(),
            StaleError(),
            DatabaseUnavailableError(),
            CommitUnknownError(),
            RolledBackError("no cause"),
            asyncio.CancelledError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_it_is_let_out_and_nothing_is_run_again(self, sqlite_shop: Shop, error: BaseException) -> None:
        units: list[ShopUnitOfWork] = []
        hooks: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            units.append(uow)
            uow.on_commit(lambda: hooks.append(1))
            await uow.items.create({"name": "tea", "price": 1})
            raise error

        with pytest.raises(type(error)) as caught:
            await transact(sqlite_shop.unit, work)

        assert caught.value is error
        assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK]
        assert hooks == []
        assert await sqlite_shop.names() == []

    async def test_nor_is_one_that_the_work_caught(self, shop: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            await uow.items.create({"name": "tea", "price": 1})
            with pytest.raises(UniqueViolationError):
                await uow.items.create({"name": "tea", "price": 1})

        with pytest.raises(RolledBackError) as caught:
            await run_again(shop, shop.unit, work)

        assert isinstance(caught.value.__cause__, UniqueViolationError)
        assert len(attempts) == 1
        assert await shop.names() == []

    async def test_a_transient_error_after_which_the_work_failed_otherwise_is_not_run_again(self, shop: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            await uow.items.create({"name": "tea", "price": 1})
            try:
                raise DeadlockError
            except DeadlockError as error:
                raise RuntimeError from error

        with pytest.raises(RuntimeError):
            await run_again(shop, shop.unit, work)

        assert len(attempts) == 1


class Waits:
    """Stands in for the clock, for sleeping and for chance: each wait is as long as it may be, and passes at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.bounds: list[tuple[float, float]] = []
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def uniform(self, shortest: float, longest: float) -> float:
        self.bounds.append((shortest, longest))
        return longest

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(rerun, "time", waits)
    monkeypatch.setattr(rerun, "random", waits)
    monkeypatch.setattr(rerun, "asyncio", SimpleNamespace(sleep=waits.sleep))
    return waits


async def _fail(uow: ShopUnitOfWork) -> None:
    raise DeadlockError


class TestBackoff:
    async def test_the_wait_is_a_random_part_of_a_bound_that_doubles_up_to_two_seconds(
        self, sqlite_shop: Shop, waits: Waits
    ) -> None:
        with pytest.raises(DeadlockError):
            await transact(sqlite_shop.unit, _fail, attempts=10)

        bounds = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0, 2.0]
        assert waits.slept == pytest.approx(bounds)
        assert waits.bounds[:9] == [(0, bound) for bound in waits.slept]

    async def test_no_attempt_begins_after_the_deadline_and_none_is_waited_for_in_vain(
        self, sqlite_shop: Shop, waits: Waits
    ) -> None:
        with pytest.raises(DeadlockError) as caught:
            await transact(sqlite_shop.unit, _fail, attempts=1000, deadline=0.15)

        assert waits.slept == pytest.approx([0.02, 0.04, 0.08])
        assert caught.value.__notes__ == ["transact() gave up after 4 attempts"]

    async def test_a_task_that_is_cancelled_while_it_waits_does_not_begin_another_attempt(
        self, sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting, attempts = asyncio.Event(), [0]

        async def sleep(seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        async def work(uow: ShopUnitOfWork) -> None:
            attempts[0] += 1
            raise DeadlockError

        monkeypatch.setattr(rerun, "asyncio", SimpleNamespace(sleep=sleep))
        task = asyncio.create_task(transact(sqlite_shop.unit, work))
        await waiting.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert attempts == [1]


class TestRefusals:
    async def test_without_an_event_loop_too_it_is_refused_inside_an_open_unit_of_work(self, sqlite_shop: Shop) -> None:
        def nest() -> None:
            with sqlite_shop.unit() as uow:
                uow.run(uow.items.create({"name": "tea", "price": 1}))
                with pytest.raises(UnitOfWorkError, match="would wait for that one"):
                    transact_sync(sqlite_shop.unit, lambda other: other.items.count())

        await asyncio.to_thread(nest)

        assert await sqlite_shop.names() == ["tea"], "the refusal harms nothing"

    async def test_inside_another_it_is_refused_and_the_other_is_not_run_again(self, async_shop: Shop) -> None:
        attempts: list[int] = []

        async def work(uow: ShopUnitOfWork) -> None:
            attempts.append(1)
            await transact(async_shop.unit, lambda other: other.items.count())

        with pytest.raises(UnitOfWorkError, match="would wait for that one"):
            await transact(async_shop.unit, work)

        assert len(attempts) == 1

    async def test_inside_a_unit_of_work_of_another_database_it_is_not(self, async_shop: Shop, tmp_path: Path) -> None:
        async with Database(f"sqlite:///{tmp_path / 'other.db'}") as other:
            await other.create_all(Base.metadata)
            async with ShopUnitOfWork(other):
                assert await transact(async_shop.unit, lambda uow: uow.items.count()) == 0

    async def test_after_a_refused_or_failed_one_the_next_is_not_refused(self, async_shop: Shop) -> None:
        with pytest.raises(DeadlockError):
            await transact(async_shop.unit, _fail, attempts=2)

        assert await transact(async_shop.unit, lambda uow: uow.items.count()) == 0
