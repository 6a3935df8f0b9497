"""What becomes of the library where a name that it uses without documentation is gone."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import aiosqlite as aiosqlite_package
import pytest
from alembic.ddl.sqlite import SQLiteImpl
from fastapi import FastAPI
from sqlalchemy import create_engine, pool

from layered_backend import Database, UnitOfWork, UnsupportedVersionError, install
from layered_backend.migrations import upgrade_sync
from layered_backend.testing.bound_engines import in_one_transaction_sync
from layered_backend.upstream import aiosqlite, alembic, asyncpg
from layered_backend.upstream.connecting import require_creator
from layered_backend.upstream.sqlalchemy import connection
from layered_backend.upstream.verification import Package, Undocumented
from tests.undocumented_uses import uses_in
from tests.upstream.hiding import hide
from tests.upstream.page import checks, modules
from tests.upstream.taking_away import accelerations_taken_away, taken_away, use_named

ROOT = Path(__file__).parents[2]
INTEGRATION = ("bulk_keys", "commit", "deferred_begin", "mappings", "repository", "savepoints", "unit_of_work")
"""They say what becomes of rows; those that count statements are about the accelerations themselves."""


def _install(folder: Path) -> None:
    install(FastAPI(), UnitOfWork, database=Database("sqlite://"))


def _migrate(folder: Path) -> None:
    (folder / "env.py").write_text("")
    upgrade_sync(Database(f"sqlite:///{folder}/shop.db"), folder=folder)


def _share_connection(folder: Path) -> None:
    with Database(f"sqlite:///{folder}/shop.db") as database, in_one_transaction_sync(database):
        pass


@pytest.mark.parametrize(
    ("name", "begin", "package"),
    [
        ("fastapi.routing:APIRoute.get_route_handler", _install, "fastapi"),
        ("starlette.routing:BaseRoute.matches", _install, "starlette"),
        ("alembic.script:ScriptDirectory._upgrade_revs", _migrate, "alembic"),
        ("sqlalchemy.pool:ConnectionPoolEntry.info", _share_connection, "sqlalchemy"),
    ],
)
def test_what_a_guarantee_rests_on_is_missed_before_it_is_used(
    name: str, begin: Callable[[Path], None], package: str, tmp_path: Path
) -> None:
    with taken_away(use_named(name)), pytest.raises(UnsupportedVersionError) as error:
        begin(tmp_path)

    assert error.value.package == package
    assert name.rpartition(":")[2] in str(error.value)
    assert f"install {package} " in str(error.value)


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_each_check_raises_where_nothing_is_left(check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Undocumented, "is_present", property(lambda _use: False))

    with pytest.raises(UnsupportedVersionError):
        check()


def _required() -> list[tuple[Callable[[], None], str]]:
    """Return each check with the name of each use that it requires."""
    found: list[tuple[Callable[[], None], str]] = []
    for check in checks():

        def require(package: Package, *uses: Undocumented, check: Callable[[], None] = check) -> None:
            found.extend((check, str(use)) for use in uses)

        with patch.object(Package, "require", require):
            check()
    return found


@pytest.mark.parametrize(("check", "name"), _required(), ids=lambda each: str(getattr(each, "__module__", each)))
def test_each_name_of_a_check_is_missed(check: Callable[[], None], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Undocumented, "is_present", property(lambda use: str(use) != name))

    with pytest.raises(UnsupportedVersionError, match=re.escape(name)):
        check()


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__.rpartition("upstream.")[2])
def test_each_name_with_an_underscore_is_checked(module: ModuleType) -> None:
    used = {use.name for use in uses_in(inspect.getsource(module), "", module)}

    assert {name for name in used if re.match("_[a-zA-Z]", name)} <= _checked_names()


def _checked_names() -> set[str]:
    """Return the names in the seam that are strings, as those are that `require` and `offers` are asked for."""
    nodes = (node for module in modules() for node in ast.walk(ast.parse(inspect.getsource(module))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize(
    ("owner", "name", "check"),
    [
        (aiosqlite_package.Connection, "stop", aiosqlite.verify),
        (aiosqlite_package.Connection, "_thread", aiosqlite.verify),
        (SQLiteImpl, "transactional_ddl", alembic.verify_alembic),
        (pool, "base", connection.verify_connection),
        (import_module("asyncpg"), "InternalClientError", asyncpg.verify),
    ],
)
def test_a_name_that_is_gone_is_missed(
    owner: Any, name: str, check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    if inspect.ismodule(owner):
        monkeypatch.delattr(owner, name)
    else:
        hide(monkeypatch, owner, name)

    with pytest.raises(UnsupportedVersionError, match=name):
        check()


def test_an_adapter_that_hands_no_function_on_is_refused() -> None:
    dialect = create_engine("sqlite+aiosqlite://").dialect

    def connect(*args: object, **options: object) -> None: ...

    require_creator(dialect)
    with (
        patch.object(dialect.loaded_dbapi, "connect", connect),
        pytest.raises(UnsupportedVersionError, match=r"connect\.async_creator_fn"),
    ):
        require_creator(dialect)


def test_an_option_that_is_gone_is_missed() -> None:
    assert Undocumented({"option": True}, "option").is_present
    assert not Undocumented({}, "option").is_present


@pytest.mark.slow
@pytest.mark.time_limit(600)
def test_without_what_only_makes_it_faster_the_library_does_the_same() -> None:
    files = [f"tests/integration/test_{name}.py" for name in INTEGRATION]
    options = [
        "-q",
        "-n0",
        "-p",
        "tests.upstream.taking_away",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:anyio",  # the plugin of an old one is too old for pytest
        "-k",
        "(aiosqlite or asyncpg) and not TestLazyLoads",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        env={**os.environ, "LAYERED_TAKE_AWAY": "accelerations"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5000:]
    assert "taken away: accelerations" in done.stdout


class TestTakingAway:
    """The means of these tests."""

    def test_what_is_taken_away_is_there_for_its_owner_and_not_for_the_library(self) -> None:
        use = Undocumented(_Owner, "hidden")

        with taken_away(use):
            assert not use.is_present
            assert _Owner().public() == "found"
            with pytest.raises(AttributeError, match=r"_Owner\.hidden, which was taken away"):
                _called_by_the_library(_Owner().hidden)
        assert use.is_present
        assert _called_by_the_library(_Owner().hidden) == "found"

    def test_what_is_offered_is_switched_off_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        package = Package("pytest", "1 to 2")

        with caplog.at_level(logging.WARNING), accelerations_taken_away() as switched_off:
            assert not package.offers("writing quickly", Undocumented(_Owner, "hidden"))

        assert switched_off == ["writing quickly"]
        assert "writing quickly is switched off" in caplog.text
        assert package.offers("writing quickly", Undocumented(_Owner, "hidden"))


class _Owner:
    def public(self) -> str:
        return self.hidden()

    def hidden(self) -> str:
        return "found"


def _called_by_the_library(function: Callable[[], str]) -> Any:
    """Call *function* as a module of the library would."""
    module: dict[str, Any] = {"__name__": "layered_backend.repository"}
    exec("def call(function): return function()", module)  # noqa: S102  # our own
    return module["call"](function)
