"""`layered-backend db`: what it prints, and its exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from layered_backend.cli import app

_MODELS = """
import os
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from layered_backend import Database, IntegerPrimaryKey

class Base(DeclarativeBase):
    pass

database = Database(os.environ.get("SHOP", "sqlite:///shop.db"))

class Item(IntegerPrimaryKey, Base):
    __tablename__ = "items"
    name: Mapped[str]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with models, and no migrations."""
    (tmp_path / "shop_models.py").write_text(_MODELS)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def call(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Return the exit status of a command in this process, what it printed, and what it complained of."""
    sys.modules.pop("shop_models", None)
    done = CliRunner().invoke(app, ["db", *arguments], env={"COLUMNS": "200"} | variables)
    sys.modules.pop("shop_models", None)
    return done.exit_code, done.stdout, done.stderr


def call_module(folder: Path, *command: str) -> tuple[int, str, str]:
    """Do what `call` does in a process of its own, with `python -m`."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=os.environ | {"COLUMNS": "200"}, capture_output=True,
        text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_from_no_folder_to_an_up_to_date_database(folder: Path) -> None:
    status, printed, _ = call("init", "shop_models")
    assert (status, printed.splitlines()) == (
        0, ["wrote migrations/env.py", "wrote migrations/script.py.mako", "wrote pyproject.toml"],
    )  # fmt: skip
    assert len([line for line in (folder / "migrations/env.py").read_text().splitlines() if line]) == 3

    assert call("check")[:2] == (1, "the models differ from the database: add table items\n")

    status, printed, _ = call("revision", "-m", "create items")
    assert (status, printed.startswith("wrote "), "create_items.py; read it" in printed) == (0, True, True)
    assert call("check")[0] == 1
    report = json.loads(call("check", "--json")[1])
    assert (report["ok"], [each["message"] for each in report["pending"]]) == (False, ["create items"])

    status, printed, _ = call("upgrade")
    assert (status, printed.startswith("applied "), printed.endswith(" create items\n")) == (0, True, True)
    assert call("upgrade")[:2] == (0, "there is nothing to do\n")
    status, printed, _ = call("check")
    assert (status, printed.startswith("nothing is pending and nothing has drifted")) == (0, True)
    assert call("revision", "-m", "more")[:2] == (0, "nothing has changed\n")

    status, printed, _ = call("downgrade", "-1", "--json")
    assert (status, len(json.loads(printed)["undone"])) == (0, 1)


def test_alembics_own_command_line_runs_the_same_folder(folder: Path) -> None:
    call("init", "shop_models")
    call("revision", "-m", "create items")

    status, printed, _ = call_module(folder, "alembic", "upgrade", "head", "--sql")
    assert (status, "CREATE TABLE items" in printed, (folder / "shop.db").exists()) == (0, True, True)
    assert call("check")[1].startswith("1 revision is pending")
    assert call_module(folder, "alembic", "upgrade", "head")[0] == 0
    assert call_module(folder, "alembic", "check")[0] == 0
    assert call("check")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upgrade"], "there are no migrations here; run `layered-backend db init`"),
        (["check", "--folder", "elsewhere"], "elsewhere holds no env.py"),
        (["init", "shop_models", "."], ". is there already, and holds something"),
        (["upgrade", "--bogus"], "No such option"),
        (["revision"], "Missing option"),
    ],
)
def test_wrong_usage_is_status_2(folder: Path, arguments: list[str], message: str) -> None:
    status, _, complaint = call(*arguments)

    assert (status, message in complaint, "Traceback" in complaint) == (2, True, False)


def test_a_failure_is_one_line_and_status_1_without_a_password(folder: Path) -> None:
    call("init", "shop_models")
    unreachable = {"SHOP": "postgresql://shop:pa$$word@127.0.0.1:1/shop?password=pa$$word"}

    status, printed, complaint = call("upgrade", "--wait", "0", **unreachable)
    _, _, debugged = call("upgrade", "--wait", "0", "--debug", **unreachable)

    assert (status, printed) == (1, "")
    assert complaint == "Error: postgresql+asyncpg://127.0.0.1:1/shop has not answered for 0 seconds\n"
    assert "Traceback" in debugged
    assert "pa$$word" not in debugged


def test_a_missing_extra_is_told_in_one_line_and_seeding_does_without(folder: Path) -> None:
    (folder / "alembic.py").write_text("raise ModuleNotFoundError('no alembic', name='alembic')")

    status, _, complaint = call_module(folder, "layered_backend", "db", "check")

    assert (status, complaint) == (
        1, "Error: migrations need a package: pip install 'layered-backend[migrations]'\n",
    )  # fmt: skip
    assert "which seeds?" in call_module(folder, "layered_backend", "seed", "list")[2]
