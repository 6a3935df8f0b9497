"""The traps that databases set, a test for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import pytest
import sqlalchemy
from sqlalchemy import event, func, insert, select, text, update

from layered_backend import Database, DeadlockError, ForeignKeyViolationError, LockTimeoutError
from layered_backend.dialects.lock_names import lock_label
from layered_backend.seeding import SeedContext, Seeder, SeedReport, SeedRunner, SeedStatus
from tests.databases import ASYNC_BACKENDS, backends_of
from tests.seeding.catalogue import Account, Catalogue, Category, Label, Product, shipping

Row = dict[str, Any]
DONE, FAILED = SeedStatus.DONE, SeedStatus.FAILED


def _flat(values: Any) -> Iterator[Any]:
    """Yield the values of a driver's parameters, of one row or of many."""
    if isinstance(values, Mapping):
        yield from cast("Mapping[str, Any]", values).values()
    elif isinstance(values, list | tuple):
        for value in cast("Sequence[Any]", values):
            yield from _flat(value)
    else:
        yield values


class LabelSeeder(Seeder[Label]):
    """Of a table without a constraint, which would show each row that is written twice."""

    key = (Label.scope, Label.text)

    def rows(self) -> list[Row]:
        return [{"scope": None, "text": "x"}]


class BrokenSeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> Iterator[Row]:
        yield {"name": "a"}
        raise RuntimeError("broken")


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Do *work* in a thread without an event loop, and wait for it, in coroutines too: others are to wait meanwhile."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result(60)


@contextmanager
def other_database(catalogue: Catalogue, **options: Any) -> Generator[Database]:
    """Reach the same database as another process would, without the patience that SQLite has by default."""
    if catalogue.backend.server == "sqlite":
        options["connect_args"] = {"timeout": 0.05}  # seconds
    with Database(catalogue.database.sync_url, **options) as database:
        yield database


def seed_elsewhere(catalogue: Catalogue, *seeders: Any, lock_timeout: float, **options: Any) -> SeedReport:
    with other_database(catalogue, **options) as database:
        return SeedRunner(seeders, database=database, lock_timeout=lock_timeout).run_sync()


_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND "
    "(state = 'User lock' OR state = 'Updating')",
}


def await_a_waiting_session(catalogue: Catalogue) -> None:
    """Return when another session of the database waits for a lock, which takes it milliseconds."""
    engine = sqlalchemy.create_engine(catalogue.database.sync_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for _ in range(3000):  # of 10 ms each
            if connection.scalar(text(_WAITING[catalogue.backend.server])):
                break
            time.sleep(0.01)
        else:
            raise AssertionError("no session waits for a lock")
    engine.dispose()


async def test_the_lock_outlasts_a_seeder_that_fails(catalogue: Catalogue) -> None:
    reports: list[SeedReport] = []

    class ThenSeeder(Seeder[Label]):
        key = (Label.text,)

        async def run(self, context: SeedContext) -> None:
            reports.append(in_a_thread(lambda: seed_elsewhere(catalogue, LabelSeeder, lock_timeout=0.2)))

    report = await catalogue.seed(BrokenSeeder, ThenSeeder)

    assert [result.status for result in report.results] == [FAILED, DONE]
    assert isinstance(reports[0].error, LockTimeoutError)
    assert [(result.status, result.inserted) for result in reports[0].results] == [(FAILED, 0)]
    assert "another process has been seeding for more than 0.2 seconds" in str(reports[0])
    assert await catalogue.rows(Label.text) == []


async def test_the_lock_is_given_back_however_a_run_ends(catalogue: Catalogue) -> None:
    for seeder, options in ((LabelSeeder, {}), (BrokenSeeder, {}), (BrokenSeeder, {"atomic": True})):
        await catalogue.seed(seeder, **options)

        report = in_a_thread(lambda: seed_elsewhere(catalogue, LabelSeeder, lock_timeout=5))
        assert report.ok, report


@pytest.mark.parametrize("catalogue", backends_of("mariadb"), indirect=True, ids=str)
async def test_mariadbs_lock_is_free_while_the_connection_rests_in_the_pool(catalogue: Catalogue) -> None:
    await catalogue.seed_well(LabelSeeder)

    label = lock_label(str(catalogue.database.url.database), "seeding")
    with other_database(catalogue) as database, database.sync_engine.connect() as connection:
        assert connection.scalar(select(func.is_free_lock(label))) == 1


def test_the_name_of_the_lock_fits() -> None:
    labels = {lock_label("shop" * 16, "seeding"), lock_label("shop" * 16, "other"), lock_label("shop", "seeding")}

    assert len(labels) == 3
    assert all(len(label) <= 64 for label in labels)


@pytest.mark.parametrize("isolation_level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("catalogue", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_who_waited_sees_what_was_written_meanwhile(catalogue: Catalogue, isolation_level: str) -> None:
    waiting: list[Any] = []

    class SlowSeeder(Seeder[Label]):
        key = (Label.scope, Label.text)

        def rows(self) -> Iterator[Row]:
            waiting.append(executor.submit(
                seed_elsewhere, catalogue, LabelSeeder, lock_timeout=60, isolation_level=isolation_level
            ))  # fmt: skip
            await_a_waiting_session(catalogue)
            yield {"scope": None, "text": "x"}

    with ThreadPoolExecutor(1) as executor:
        await catalogue.seed_well(SlowSeeder)
        report = waiting[0].result(60)

    assert [(result.inserted, result.unchanged) for result in report.results] == [(0, 1)]
    assert await catalogue.rows(Label.text) == [("x",)]


@pytest.mark.parametrize("catalogue", backends_of("sqlite"), indirect=True, ids=str)
async def test_a_wait_longer_than_the_busy_timeout_goes_on(catalogue: Catalogue) -> None:
    waiting: list[Any] = []

    class SlowSeeder(Seeder[Label]):
        key = (Label.scope, Label.text)

        def rows(self) -> Iterator[Row]:
            waiting.append(executor.submit(seed_elsewhere, catalogue, LabelSeeder, lock_timeout=60))
            time.sleep(0.2)  # four times the busy timeout of the other
            yield {"scope": None, "text": "x"}

    with ThreadPoolExecutor(1) as executor:
        await catalogue.seed_well(SlowSeeder)
        report = waiting[0].result(60)

    assert [(result.inserted, result.unchanged) for result in report.results] == [(0, 1)]


async def test_a_transient_error_reruns_the_whole_run(catalogue: Catalogue) -> None:
    attempts: list[int] = []

    class UnluckySeeder(Seeder[Category]):
        key = (Category.name,)
        depends_on = (LabelSeeder,)

        def rows(self) -> Iterator[Row]:
            attempts.append(1)
            yield {"name": "a"}
            if len(attempts) < 3:
                raise DeadlockError

    report = await catalogue.seed_well(UnluckySeeder, LabelSeeder)

    assert len(attempts) == 3
    assert [result.inserted for result in report.results] == [1, 1]
    assert await catalogue.rows(Label.text) == [("x",)]


async def test_a_transient_error_that_stays_is_in_the_report(catalogue: Catalogue) -> None:
    class UnluckySeeder(Seeder[Category]):
        key = (Category.name,)

        def rows(self) -> Iterator[Row]:
            raise DeadlockError
            yield {}

    report = await catalogue.seed(LabelSeeder, UnluckySeeder)

    assert isinstance(report.error, DeadlockError)
    assert [(result.status, result.inserted) for result in report.results] == [(FAILED, 0), (FAILED, 0)]
    assert await catalogue.rows(Label.text) == []


@pytest.mark.parametrize("catalogue", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_real_deadlock_is_survived(catalogue: Catalogue) -> None:
    if catalogue.backend.server == "mariadb":  # it keeps the keys of deleted rows for a while, and locks them too
        execute(catalogue, "ALTER TABLE categories FORCE")
    await catalogue.add(*(Category(name=name) for name in ("ours", "theirs", *map(str, range(100)))))
    ours_id = dict(await catalogue.rows(Category.name, Category.id))["ours"]
    is_theirs_locked, is_ours_waiting = threading.Event(), threading.Event()
    attempts: list[int] = []

    def rival() -> None:
        engine = sqlalchemy.create_engine(catalogue.database.sync_url, isolation_level="READ COMMITTED")
        with engine.begin() as connection:
            # MariaDB has the transaction give way that has changed less.
            connection.execute(
                update(Category).where(Category.id > ours_id).values(name=func.concat(Category.name, "!"))
            )
            is_theirs_locked.set()
            is_ours_waiting.wait(30)
            await_a_waiting_session(catalogue)
            connection.execute(update(Category).where(Category.name == "ours").values(name="rival's"))
        engine.dispose()

    class FirstSeeder(Seeder[Label]):
        key = (Label.text,)

        def rows(self) -> list[Row]:
            return [{"text": "before"}]

    class DeadlockedSeeder(Seeder[Category]):
        key = (Category.name,)
        depends_on = (FirstSeeder,)

        async def run(self, context: SeedContext) -> None:
            attempts.append(1)
            if catalogue.backend.server == "postgresql":
                await context.session.execute(text("SET LOCAL deadlock_timeout = '300ms'"))  # of 1 s
            await context.session.execute(update(Category).where(Category.name == "ours").values(name="seed 1"))
            if len(attempts) == 1:
                thread.start()
                is_theirs_locked.wait(30)
                is_ours_waiting.set()
            await context.session.execute(update(Category).where(Category.name == "theirs").values(name="seed 2"))

    thread = threading.Thread(target=rival)
    report = await catalogue.seed_well(DeadlockedSeeder, FirstSeeder)
    thread.join(30)

    assert len(attempts) == 2
    assert [result.status for result in report.results] == [DONE, DONE]
    assert await catalogue.rows(Label.text) == [("before",)]


@pytest.mark.parametrize("catalogue", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_lost_connection_reruns_the_whole_run(catalogue: Catalogue) -> None:
    own_id = "pg_backend_pid()" if catalogue.backend.server == "postgresql" else "connection_id()"
    kill = "SELECT pg_terminate_backend({})" if catalogue.backend.server == "postgresql" else "KILL {}"
    attempts: list[int] = []

    class LostSeeder(Seeder[Category]):
        key = (Category.name,)
        depends_on = (LabelSeeder,)

        async def run(self, context: SeedContext) -> None:
            attempts.append(1)
            if len(attempts) == 1:
                own = await context.session.scalar(text(f"SELECT {own_id}"))
                in_a_thread(lambda: execute(catalogue, kill.format(own)))
            await context.reconcile([{"name": "a"}])

    report = await catalogue.seed_well(LostSeeder, LabelSeeder)

    assert len(attempts) == 2
    assert [result.inserted for result in report.results] == [1, 1]


def execute(catalogue: Catalogue, sql: str) -> None:
    engine = sqlalchemy.create_engine(catalogue.database.sync_url)
    with engine.begin() as connection:
        connection.execute(text(sql))
    engine.dispose()


@pytest.mark.parametrize("catalogue", backends_of("sqlite", "postgresql"), indirect=True, ids=str)
class TestDeferredConstraints:
    async def test_one_fails_the_seeder_that_violates_it(self, catalogue: Catalogue) -> None:
        broken = shipping(Account, Account.name, rows=[{"name": "a", "owner_id": 999}], name="Broken")
        sound = shipping(Category, Category.name, rows=[{"name": "a"}], name="Sound")

        report = await catalogue.seed(sound, broken, LabelSeeder)

        assert [result.status for result in report.results] == [DONE, FAILED, DONE], report
        assert isinstance(report["Broken"].error, ForeignKeyViolationError)
        assert report["Broken"].error.constraint == "fk_accounts_owner_id_accounts"
        assert await catalogue.rows(Account.name) == []
        assert await catalogue.rows(Category.name) == [("a",)]

    async def test_they_are_deferred_again_for_the_next_seeder(self, catalogue: Catalogue) -> None:
        first = shipping(Account, Account.name, rows=[{"id": 1, "name": "a", "owner_id": 1}], name="First")

        class LaterSeeder(Seeder[Account]):
            key = (Account.name,)
            depends_on = (first,)

            async def run(self, context: SeedContext) -> None:
                await context.session.execute(insert(Account).values(id=11, name="b", owner_id=12))
                await context.session.execute(insert(Account).values(id=12, name="c", owner_id=11))
                context.count(inserted=2)

        report = await catalogue.seed_well(LaterSeeder, first)

        assert [result.inserted for result in report.results] == [1, 2]


class TestExplicitIds:
    @pytest.mark.parametrize("greatest", [7, 5_000_000])
    async def test_the_next_insert_of_the_application_works(self, catalogue: Catalogue, greatest: int) -> None:
        seeder = shipping(Product, Product.name, rows=[{"id": greatest, "name": "tea"}, {"id": 3, "name": "salt"}])
        await catalogue.seed_well(seeder)

        await catalogue.add(*(Product(name=f"p{number}") for number in range(10)))

        assert max(key for (key,) in await catalogue.rows(Product.id)) == greatest + 10
        assert (await catalogue.seed_well(seeder))["Shipped"].unchanged == 2

    async def test_a_sequence_is_never_set_back(self, catalogue: Catalogue) -> None:
        await catalogue.add(*(Product(name=f"p{number}") for number in range(20)))

        await catalogue.seed_well(shipping(Product, Product.name, rows=[{"id": 1000, "name": "tea"}], name="First"))
        await catalogue.seed_well(shipping(Product, Product.name, rows=[{"id": 500, "name": "salt"}], name="Second"))
        await catalogue.add(Product(name="next"))

        assert dict(await catalogue.rows(Product.name, Product.id))["next"] == 1001

    async def test_a_sequence_that_somebody_left_behind_is_repaired(self, catalogue: Catalogue) -> None:
        seeder = shipping(Product, Product.name, rows=[{"id": 5, "name": "tea"}])
        await catalogue.seed_well(seeder)
        if catalogue.backend.server == "postgresql":
            in_a_thread(lambda: execute(catalogue, "ALTER SEQUENCE products_id_seq RESTART"))

        assert (await catalogue.seed_well(seeder))["Shipped"].unchanged == 1
        await catalogue.add(*(Product(name=f"p{number}") for number in range(10)))

    @pytest.mark.parametrize("catalogue", backends_of("mariadb"), indirect=True, ids=str)
    async def test_mariadb_is_given_the_greatest_first(self, catalogue: Catalogue) -> None:
        """It counts on from each row as it writes it, and would give others a number between two of ours."""
        written: list[int] = []

        def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("INSERT INTO products"):
                written.extend(value for value in _flat(parameters) if value in range(300, 304))

        rows = [{"id": 300 + number, "name": f"p{number}"} for number in range(4)]
        database, is_async = catalogue.database, catalogue.backend.asynchronous
        engine = database.engine.sync_engine if is_async else database.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        await catalogue.seed_well(shipping(Product, Product.name, rows=rows))

        assert written == [303, 300, 301, 302]

    @pytest.mark.parametrize("catalogue", ASYNC_BACKENDS, indirect=True, ids=str)
    async def test_others_may_insert_meanwhile(self, catalogue: Catalogue) -> None:
        """The numbers that the application draws stay below 200, or lie above those that are seeded."""

        def insert_some(number: int) -> None:
            with Database(catalogue.database.sync_url) as database:
                for index in range(50):
                    with database.sync_engine.begin() as connection:
                        connection.execute(insert(Product).values(name=f"{number} {index}", price=1))

        rows = [{"id": 300 + number, "name": f"p{number}"} for number in range(40)]
        with ThreadPoolExecutor(4) as executor:
            inserting = [executor.submit(insert_some, number) for number in range(4)]
            await catalogue.seed_well(shipping(Product, Product.name, rows=rows))
            for future in inserting:
                future.result(60)
        await catalogue.add(Product(name="next"))

        ids = dict(await catalogue.rows(Product.name, Product.id))
        assert len(ids) == 4 * 50 + 40 + 1
        assert ids["next"] > 339
