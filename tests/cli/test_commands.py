"""The commands in this process: what they print, and their exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from layered_backend.cli import app

_MODULE = "commands_shop_seeds"
_SEEDS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from layered_backend import Database, Seeder, SeedRunner

class Base(DeclarativeBase):
    pass

class Herb(Base):
    __tablename__ = "herbs"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)

class HerbSeeder(Seeder[Herb]):
    key = (Herb.name,)
    def rows(self):
        return [{"name": "basil"}, {"name": "mint"}]

class LateSeeder(Seeder[Herb]):
    key = (Herb.name,)
    depends_on = (HerbSeeder,)
    tags = ("late",)
    def rows(self):
        return [{"name": "sage"}]

class BrokenSeeder(Seeder[Herb]):
    key = (Herb.name,)
    def rows(self):
        return [{"nmae": "thyme", "name": "thyme"}]

database = Database("sqlite:///herbs.db")
database.create_all_sync(Base.metadata)
database.dispose_sync()
seeds = SeedRunner([LateSeeder, HerbSeeder], database=database)
broken = SeedRunner([BrokenSeeder], database=database)
"""


@pytest.fixture(autouse=True)
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / f"{_MODULE}.py").write_text(_SEEDS)
    (tmp_path / "pyproject.toml").write_text(f'[tool.layered-backend]\napp = "{_MODULE}:seeds"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("LAYERED_ENV", raising=False)
    yield
    sys.modules.pop(_MODULE, None)


def call(*arguments: str) -> tuple[int, str]:
    """Return the exit status of `layered-backend seed` and what it printed."""
    result = CliRunner().invoke(app, ["seed", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_run_seeds_and_the_next_one_changes_nothing() -> None:
    status, printed = call("run", "--all")
    assert (status, "HerbSeeder: 2 inserted" in printed) == (0, True)

    status, printed = call("run", "--all", "--json")
    report = json.loads(printed)
    assert (status, report["ok"], [each["unchanged"] for each in report["results"]]) == (0, True, [2, 1])


def test_what_there_is_and_would_be_is_told() -> None:
    assert call("list")[0] == 0
    status, printed = call("plan")
    assert (status, "LateSeeder" in printed) == (0, True)
    status, printed = call("status")
    assert (status, "insert name='basil'" in printed) == (0, True)
    status, printed = call("run", "--tag", "late", "--dry-run")
    assert (status, "insert name='sage'" in printed) == (0, True)


def test_a_failure_is_status_1() -> None:
    status, printed = call("run", "--all", "--app", f"{_MODULE}:broken")
    assert (status, "did you mean 'name'?" in printed) == (1, True)
    assert "Traceback" in call("run", "--all", "--app", f"{_MODULE}:broken", "--debug")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "NopeSeeder"),
        ("run",),
        ("run", "--all", "--env", "moon"),
        ("run", "--all", "--app", "no_such_module:seeds"),
        ("run", "--all", "--app", f"{_MODULE}:nothing"),
        ("run", "--all", "--app", _MODULE),
        ("run", "--all", "--app", f"{_MODULE}:Base"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    assert call(*arguments)[0] == 2
