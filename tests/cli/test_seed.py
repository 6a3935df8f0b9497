"""The commands, called in this process; in one of their own where the process, the terminal or an import is the point."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from layered_backend.cli.application import app

_SEEDS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from layered_backend import Database, IntegerPrimaryKey, Seeder, SeedRunner

class Base(DeclarativeBase):
    pass

database = Database("sqlite:///shop.db")

class Category(IntegerPrimaryKey, Base):
    __tablename__ = "categories"
    name: Mapped[str] = mapped_column(unique=True)

class CategorySeeder(Seeder[Category]):
    key = (Category.name,)
    def rows(self):
        return [{"name": "drinks"}, {"name": "food"}]

class DemoSeeder(Seeder[Category]):
    key = (Category.name,)
    depends_on = (CategorySeeder,)
    environments = ("development",)
    tags = ("demo",)
    def rows(self):
        return [{"name": "[demo]"}]

class OldSeeder(Seeder[Category]):
    key = (Category.name,)
    retired = ("old",)
    tags = ("old",)
    def rows(self):
        return []

class BrokenSeeder(Seeder[Category]):
    key = (Category.name,)
    def rows(self):
        return [{"name": "a"}, {"nmae": "b", "name": "b"}]

seeds = SeedRunner([OldSeeder, DemoSeeder, CategorySeeder], database=database)
broken = SeedRunner([BrokenSeeder, CategorySeeder], database=database)

if __name__ == "__main__":
    with database:  # closed before its file is copied
        database.create_all_sync(Base.metadata)
        with database.sync_engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO categories (name) VALUES ('old')")
"""
_PYPROJECT = '[tool.layered-backend]\napp = "shop_seeds:seeds"\n'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with seeds and a database, to be copied."""
    path = tmp_path_factory.mktemp("template")
    (path / "shop_seeds.py").write_text(_SEEDS)
    (path / "pyproject.toml").write_text(_PYPROJECT)
    with contextlib.chdir(path):
        runpy.run_path("shop_seeds.py", run_name="__main__")
    return path


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with seeds and a database."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("LAYERED_ENV", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"LAYERED_ENV", "FORCE_COLOR"}}
    return kept | {"COLUMNS": "200"} | variables


def call(*arguments: str) -> Result:
    """Call a command as a new process would, which has imported nothing of the application."""
    sys.modules.pop("shop_seeds", None)
    return CliRunner().invoke(app, ["seed", *arguments])


def call_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "layered_backend", "seed", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_run_prints_a_line_for_each_seeder_and_the_second_changes_nothing(folder: Path) -> None:
    first, second = call_process(folder, "run", "--all"), call("run", "--all")

    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "OldSeeder: 0 inserted, 0 updated, 0 unchanged, 1 deleted",
        "CategorySeeder: 2 inserted, 0 updated, 0 unchanged, 0 deleted",
        "DemoSeeder: 1 inserted, 0 updated, 0 unchanged, 0 deleted",
    ]
    assert second.stdout.count("0 inserted, 0 updated") == 3


@pytest.mark.usefixtures("folder")
def test_the_report_may_be_json() -> None:
    done = call("run", "DemoSeeder", "--json", "--env", "development")

    report = json.loads(done.stdout)
    assert (done.exit_code, report["ok"]) == (0, True)
    assert [(result["name"], result["inserted"]) for result in report["results"]] == [
        ("CategorySeeder", 2), ("DemoSeeder", 1),
    ]  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_a_dry_run_and_status_tell_each_row() -> None:
    dry, status = call("run", "--tag", "demo", "--dry-run"), call("status")

    assert (dry.exit_code, status.exit_code) == (0, 0)
    assert "  insert name='[demo]'" in dry.stdout.splitlines()
    assert "  delete name='old'" in status.stdout.splitlines()
    assert "0 unchanged" in call("run", "CategorySeeder").stdout  # nothing was written


@pytest.mark.usefixtures("folder")
def test_the_seeders_and_the_plan_are_shown() -> None:
    listed, planned = call("list"), call("plan", "--env", "production")

    assert listed.stdout.splitlines()[-1] == "DemoSeeder (shop_seeds; environments: development; tags: demo)"
    assert "3. DemoSeeder (skipped: it is not for production, but for development)" in planned.stdout
    assert planned.stdout.splitlines()[-1].endswith("CategorySeeder")


@pytest.mark.usefixtures("folder")
def test_a_failure_is_one_paragraph_with_its_place_and_status_1() -> None:
    done = call("run", "--all", "--app", "shop_seeds:broken")
    debugged = call("run", "--all", "--app", "shop_seeds:broken", "--debug")

    assert done.exit_code == 1
    assert "BrokenSeeder: failed: BrokenSeeder, row 2, column nmae: Category has no field 'nmae'" in done.stdout
    assert "CategorySeeder: 2 inserted" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "Traceback" in debugged.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "name the seeders that are wanted, or write --all"),
        (["run", "DemoSeder"], "there is no seeder 'DemoSeder'; did you mean DemoSeeder?"),
        (["run", "--all", "--env", "prod"], "known are development, test, staging, production"),
        (["run", "--all", "--app", "shop_seeds"], "'shop_seeds' is not module:attribute"),
        (["run", "--all", "--app", "no_such:seeds"], "no_such cannot be imported"),
        (["run", "--all", "--app", "shop_seeds:nothing"], "shop_seeds has no attribute 'nothing'"),
        (["run", "--all", "--app", "shop_seeds:database"], "is a Database, not a SeedRunner"),
        (["run", "--bogus"], "No such option"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_wrong_usage_is_status_2(arguments: list[str], message: str) -> None:
    done = call(*arguments)

    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_target_the_advice_names_both_ways(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("")

    done = call("list")

    assert done.exit_code == 2
    assert "write --app shop.seeds:seeds" in done.stderr


@pytest.mark.usefixtures("folder")
def test_in_production_a_pipe_is_refused_to_delete_and_force_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERED_ENV", "production")

    refused, forced = call("run", "--all"), call("run", "--all", "--force")

    assert refused.exit_code == 1
    assert "nobody has allowed: delete name='old'" in refused.stdout
    assert forced.exit_code == 0
    assert "CategorySeeder: 2 inserted" in forced.stdout


@pytest.mark.usefixtures("folder")
def test_an_export_is_a_file_that_the_seeder_reads(tmp_path: Path) -> None:
    call("run", "CategorySeeder")

    printed = call("export", "CategorySeeder", "--format", "jsonl")
    written = call("export", "CategorySeeder", "--output", str(tmp_path / "categories.yaml"))

    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"name": "drinks"}, {"name": "food"}, {"name": "old"},
    ]  # fmt: skip
    assert "3 rows of CategorySeeder. Look for secrets before you share them" in printed.stderr
    assert (tmp_path / "categories.yaml").read_text() == "- name: drinks\n- name: food\n- name: old\n"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CategorySeder"], "did you mean CategorySeeder?"),
        (["CategorySeeder", "--output", "categories.csv"], "rows are written to .json"),
        (["CategorySeeder", "--without", "name"], "name is no attribute of CategorySeeder that can be left out"),
    ],
)
def test_an_export_that_cannot_be_is_status_2_and_writes_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = call("export", *arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / "categories.csv").exists()


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1)])
def test_at_a_terminal_the_run_asks_before_it_deletes_and_shows_bars(folder: Path, answer: str, status: int) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "layered_backend", "seed", "run", "--all"],
        cwd=folder, env=environment(LAYERED_ENV="production", TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        printed = b""
        while True:
            try:
                printed += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
        assert process.wait(60) == status
    os.close(ours)

    assert b"delete name='old'" in printed
    assert b"Delete 1 rows?" in printed
    assert (b"CategorySeeder: 2 inserted" in printed) is (status == 0)


def test_a_missing_extra_is_told_in_one_line(folder: Path) -> None:
    (folder / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')")

    done = call_process(folder, "list")

    assert (done.returncode, done.stderr) == (
        1, "the command line needs two packages: pip install 'layered-backend[cli]'\n",
    )  # fmt: skip
