"""Runs: what fails, what is skipped, what is undone, and what the report says of it."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from layered_backend import Database, SeedImportError, SeedPlanError, UniqueViolationError, UnitOfWork, UnitOfWorkError
from layered_backend.seeding import SeedContext, Seeder, SeedProgress, SeedRunner, SeedStatus, ref
from tests.databases import ASYNC_BACKENDS
from tests.seeding.catalogue import Catalogue, Category, Label, Product, shipping

Row = dict[str, Any]
DONE, FAILED, SKIPPED = SeedStatus.DONE, SeedStatus.FAILED, SeedStatus.SKIPPED


class CategorySeeder(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[Row]:
        return [{"name": "drinks"}]


class BrokenSeeder(Seeder[Product]):
    key = (Product.name,)
    depends_on = (CategorySeeder,)

    def rows(self) -> Iterator[Row]:
        yield {"name": "tea", "category_id": ref(CategorySeeder, "drinks")}
        raise RuntimeError("broken")


class DependentSeeder(Seeder[Label]):
    key = (Label.text,)
    depends_on = (BrokenSeeder,)

    def rows(self) -> list[Row]:
        return [{"text": "dependent"}]


class LabelSeeder(Seeder[Label]):
    key = (Label.text,)

    def rows(self) -> list[Row]:
        return [{"text": "free"}]


ALL = (DependentSeeder, BrokenSeeder, CategorySeeder, LabelSeeder)


async def test_a_failure_is_undone_alone_and_what_depends_on_it_is_skipped(catalogue: Catalogue) -> None:
    report = await catalogue.seed(*ALL)

    assert not report.ok
    assert [(result.name, result.status, result.inserted) for result in report.results] == [
        ("CategorySeeder", DONE, 1), ("BrokenSeeder", FAILED, 0), ("DependentSeeder", SKIPPED, 0), ("LabelSeeder", DONE, 1),
    ]  # fmt: skip
    assert str(report["BrokenSeeder"].error) == "broken"
    assert report["DependentSeeder"].reason == "it depends on BrokenSeeder, which failed"
    assert await catalogue.rows(Product.name) == []
    assert await catalogue.rows(Label.text) == [("free",)]


async def test_an_atomic_run_is_undone_by_one_failure(catalogue: Catalogue) -> None:
    report = await catalogue.seed(*ALL, atomic=True)

    assert not report.ok
    assert [(result.status, result.inserted) for result in report.results] == [
        (SKIPPED, 0), (FAILED, 0), (SKIPPED, 0), (SKIPPED, 0),
    ]  # fmt: skip
    assert report["CategorySeeder"].reason == "nothing is written, because BrokenSeeder failed"
    assert await catalogue.rows(Category.name) == await catalogue.rows(Label.text) == []


async def test_a_database_error_in_a_custom_run_is_undone_alone(catalogue: Catalogue) -> None:
    class SwallowingSeeder(Seeder[Category]):
        key = (Category.name,)

        async def run(self, context: SeedContext) -> None:
            context.session.add_all([Category(name="a"), Category(name="a")])
            with suppress(UniqueViolationError):  # what an application should not do
                await context.session.flush()

    report = await catalogue.seed(SwallowingSeeder, LabelSeeder)

    assert [result.status for result in report.results] == [FAILED, DONE]
    assert "UniqueViolationError" in str(report["SwallowingSeeder"].error)
    assert await catalogue.rows(Label.text) == [("free",)]


async def test_what_is_asked_for_brings_its_dependencies(catalogue: Catalogue) -> None:
    report = await catalogue.seed(*ALL, only=["BrokenSeeder"])

    assert [result.name for result in report.results] == ["CategorySeeder", "BrokenSeeder"]


async def test_a_seeder_for_another_environment_is_skipped_with_what_depends_on_it(catalogue: Catalogue) -> None:
    demo = shipping(Category, Category.name, rows=[{"name": "demo"}], environments=("development",), name="Demo")
    dependent = shipping(Label, Label.text, rows=[{"text": "x"}], depends_on=(demo,), name="Dependent")

    report = await catalogue.seed(demo, dependent, CategorySeeder, environment="production")

    assert report.ok
    assert [(result.status, result.reason) for result in report.results] == [
        (SKIPPED, "it is not for production, but for development"),
        (SKIPPED, "it depends on Demo, which was skipped"),
        (DONE, None),
    ]
    assert await catalogue.rows(Category.name) == [("drinks",)]


async def test_a_plan_that_does_not_fit_raises_before_anything_is_written(catalogue: Catalogue) -> None:
    with pytest.raises(SeedPlanError, match="there is no seeder"):
        await catalogue.seed(*ALL, only=["CategorySeeder", "NoSeeder"])

    assert catalogue.statements.sent == []


async def test_progress_is_told_by_batch_and_its_errors_harm_nothing(catalogue: Catalogue) -> None:
    told: list[tuple[str, int, int, int, int | None, bool]] = []

    def tell(progress: SeedProgress) -> None:
        told.append((
            progress.seeder, progress.position, progress.seeders, progress.rows, progress.total, progress.is_done
        ))  # fmt: skip
        raise RuntimeError("a progress bar that does not fit")

    rows = [{"name": f"c{number}"} for number in range(1500)]
    await catalogue.seed_well(LabelSeeder, shipping(Category, Category.name, rows=rows), progress=tell)

    assert told == [
        ("LabelSeeder", 1, 2, 0, None, False),
        ("LabelSeeder", 1, 2, 1, 1, False),
        ("LabelSeeder", 1, 2, 1, None, True),
        ("Shipped", 2, 2, 0, None, False),
        ("Shipped", 2, 2, 1000, 1500, False),
        ("Shipped", 2, 2, 1500, 1500, False),
        ("Shipped", 2, 2, 1500, None, True),
    ]


async def test_a_commit_that_fails_leaves_nothing_in_the_report(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = catalogue.database.engine.sync_engine if catalogue.backend.asynchronous else catalogue.database.sync_engine

    def fail(connection: Any) -> None:
        connection.rollback()  # as a server does that cannot commit
        raise engine.dialect.loaded_dbapi.OperationalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect, "do_commit", fail)
        report = await catalogue.seed(CategorySeeder, LabelSeeder)

    assert not report.ok
    assert [(result.status, result.inserted) for result in report.results] == [(FAILED, 0), (FAILED, 0)]
    assert "the disk is full" in str(report.error)
    assert report.results[0].error is report.error
    assert await catalogue.rows(Category.name) == []


async def test_a_run_inside_an_open_unit_of_work_is_refused(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database:
        async with UnitOfWork(database):
            with pytest.raises(UnitOfWorkError, match="inside an open unit of work"):
                await SeedRunner([CategorySeeder], database=database).run()


async def test_a_run_without_a_database_says_so() -> None:
    with pytest.raises(UnitOfWorkError, match="the runner has no database"):
        await SeedRunner([CategorySeeder]).run()


@pytest.mark.parametrize("catalogue", ASYNC_BACKENDS, indirect=True, ids=str)
async def test_a_cancelled_run_leaves_nothing(catalogue: Catalogue) -> None:
    has_written = asyncio.Event()

    class SlowSeeder(Seeder[Category]):
        key = (Category.name,)

        async def rows(self) -> AsyncIterator[Row]:
            for number in range(1001):
                yield {"name": f"c{number}"}
            has_written.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(catalogue.seed(LabelSeeder, SlowSeeder))
    await asyncio.wait_for(has_written.wait(), 30)
    assert catalogue.statements.writes != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await catalogue.rows(Category.name) == await catalogue.rows(Label.text) == []
    await catalogue.seed_well(LabelSeeder)


async def test_the_report_is_json(catalogue: Catalogue) -> None:
    report = await catalogue.seed(*ALL, dry_run=True)

    as_dict = report.as_dict()

    assert (as_dict["ok"], as_dict["dry_run"], as_dict["environment"]) == (False, True, "development")
    assert as_dict["results"][0] == {
        "name": "CategorySeeder", "status": "done", "inserted": 1, "updated": 0, "unchanged": 0, "deleted": 0,
        "error": None, "reason": None, "seconds": as_dict["results"][0]["seconds"],
        "changes": [{"action": "insert", "key": {"name": "drinks"}, "before": {}, "after": {"name": "drinks"}}],
    }  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package of seeds, to be filled."""
    folder = tmp_path / "packaged_seeds"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "packaged_seeds"]:
        del sys.modules[name]


_MODULE = """
from layered_backend.seeding import Seeder
from tests.seeding.catalogue import Category

class _Base(Seeder[Category]):
    key = (Category.name,)
    def rows(self):
        return [{{"name": "base"}}]

class {name}(_Base):
    def rows(self):
        return [{{"name": "{name}"}}]
"""


class TestPackages:
    async def test_a_module_that_cannot_be_imported_does_not_take_the_others_down(
        self, catalogue: Catalogue, package: Path
    ) -> None:
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text("raise SystemExit('run')")
        (package / "one.py").write_text(_MODULE.format(name="One"))
        (package / "two.py").write_text("import packaged_seeds.nothing")
        (package / "three.py").write_text("from packaged_seeds.one import One\n" + _MODULE.format(name="Three"))

        report = await catalogue.run(SeedRunner.from_package("packaged_seeds", database=catalogue.database))

        assert not report.ok
        assert [(result.name, result.status) for result in report.results] == [
            ("packaged_seeds.two", FAILED), ("One", DONE), ("Three", DONE),
        ]  # fmt: skip
        error = report["packaged_seeds.two"].error
        assert isinstance(error, SeedImportError)
        assert "No module named 'packaged_seeds.nothing'" in str(error)
        assert await catalogue.rows(Category.name) == [("One",), ("Three",)]

    async def test_a_package_that_is_not_there_is_a_planning_error(self) -> None:
        with pytest.raises(SeedPlanError, match="the package no_such_seeds cannot be imported"):
            _ = SeedRunner.from_package("no_such_seeds").seeders

    async def test_nothing_is_imported_before_it_is_needed(self, package: Path) -> None:
        (package / "__init__.py").write_text("raise RuntimeError")

        SeedRunner.from_package("packaged_seeds")


class TestMain:
    @pytest.fixture
    def runner(self, tmp_path: Path) -> SeedRunner:
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
        with database:
            database.create_all_sync(Category.metadata)
        return SeedRunner(ALL, database=database)

    @pytest.mark.parametrize(
        ("arguments", "status", "output", "error"),
        [
            (["CategorySeeder"], 0, "CategorySeeder: 1 inserted, 0 updated, 0 unchanged, 0 deleted\n", ""),
            (["LabelSeeder", "BrokenSeeder"], 1, "BrokenSeeder: failed: broken\n", ""),
            (["NoSeeder"], 2, "", "there is no seeder 'NoSeeder'"),
        ],
    )
    def test_the_exit_status_tells(
        self, runner: SeedRunner, arguments: list[str], status: int, output: str, error: str
    ) -> None:
        printed, complaints = io.StringIO(), io.StringIO()
        with pytest.raises(SystemExit) as exit_, redirect_stdout(printed), redirect_stderr(complaints):
            runner.main(arguments)

        assert exit_.value.code == status
        assert output in printed.getvalue()
        assert error in complaints.getvalue()
        assert bool(complaints.getvalue()) is bool(error)

    def test_without_names_all_run(self, runner: SeedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["seeds"])
        with pytest.raises(SystemExit) as exit_:
            runner.main()

        assert exit_.value.code == 1
        with Database(f"sqlite:///{tmp_path / 'shop.db'}") as database, UnitOfWork(database) as uow:
            assert uow.run(uow.session.scalar(text("SELECT count(*) FROM labels"))) == 1
