"""How dialects are registered, and that nothing else than a dialect asks which database it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Numeric
from sqlalchemy.dialects import registry as sqlalchemys
from sqlalchemy.engine.default import DefaultDialect

import layered_backend
from layered_backend import Database, UnitOfWorkError
from layered_backend.dialects import (
    DatabaseDialect,
    PortableConnections,
    PortableValues,
    dialect_named,
    register_dialect,
    registry,
)
from layered_backend.models import ExactDecimal

SOURCE = Path(layered_backend.__file__).parent
DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})


class _Connections(PortableConnections):
    async_driver = sync_driver = "driver"
    requirement = "a-driver"


DIALECT = DatabaseDialect(connections=_Connections())


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(ExactDecimal, "storage", ExactDecimal.storage)


class TestRegistering:
    def test_a_registered_dialect_is_found_by_its_name(self) -> None:
        register_dialect("crate", DIALECT)

        assert dialect_named("crate") is DIALECT
        assert Database("crate://host/shop").url.drivername == "crate+driver"

    def test_a_name_is_registered_once(self) -> None:
        register_dialect("crate", DIALECT)

        with pytest.raises(ValueError, match="there is a dialect for crate:// already"):
            register_dialect("crate", DIALECT)
        with pytest.raises(ValueError, match="there is a dialect for sqlite:// already"):
            register_dialect("sqlite", DIALECT)

    @pytest.mark.parametrize("other", [DatabaseDialect, _Connections(), "a.module:DIALECT", None])
    def test_what_is_no_dialect_is_refused(self, other: Any) -> None:
        with pytest.raises(TypeError, match="the dialect of crate:// is to be a DatabaseDialect, not"):
            register_dialect("crate", other)

    @pytest.mark.parametrize("part", [{"connections": None}, {"values": PortableValues}])
    def test_what_is_no_part_is_refused(self, part: dict[str, Any]) -> None:
        with pytest.raises(
            TypeError, match=f"the part {next(iter(part))} of the dialect of crate:// is to be an object"
        ):
            register_dialect("crate", replace(DIALECT, **part))

    @pytest.mark.parametrize("name", ["", "crate+driver", "crate://"])
    def test_a_name_is_the_part_of_the_url_that_names_the_database(self, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be the name of a dialect"):
            register_dialect(name, DIALECT)

    def test_an_unknown_database_is_an_error_that_says_how_to_add_one(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"^oracle:// is not supported; .* sqlite://, .* register_dialect.* page `dialects` of the doc",
        ):
            Database("oracle://db.example/shop")

    def test_a_dialect_says_how_exact_decimals_are_stored(self) -> None:
        class Values(PortableValues):
            decimal_type = Numeric(20, 2)

        class Crate(DefaultDialect):
            name = "crate"
            supports_statement_cache = True

        register_dialect("crate", DatabaseDialect(connections=_Connections(), values=Values()))

        assert str(ExactDecimal().compile(dialect=Crate())) == "NUMERIC(20, 2)"


class TestDrivers:
    def test_a_dialect_that_sqlalchemy_does_not_have_is_an_error_that_says_what_to_install(self) -> None:
        register_dialect("crate", DIALECT)

        with pytest.raises(
            ModuleNotFoundError, match=r"^SQLAlchemy has no dialect crate\.driver; .*: pip install 'a-driver'$"
        ):
            _ = Database("crate://host/shop").sync_engine
        with pytest.raises(
            ModuleNotFoundError,
            match=r"^crate\+other:// names a driver that SQLAlchemy does not know; write crate://, which uses driver: pip",
        ):
            _ = Database("crate+other://host/shop").sync_engine

    def test_a_dialect_of_sqlalchemys_without_that_driver_is_an_error_that_says_how_to_name_it(self) -> None:
        sqlalchemys.register("bare", "sqlalchemy.dialects.sqlite.pysqlite", "SQLiteDialect_pysqlite")
        register_dialect("bare", DIALECT)

        with pytest.raises(
            ModuleNotFoundError,
            match=r"^SQLAlchemy has a dialect bare, .*\.registry\.register\('bare\.driver', \.\.\.\)$",
        ):
            _ = Database("bare://host/shop").sync_engine

    def test_a_driver_that_is_named_twice_is_for_synchronous_use(self) -> None:
        class Connections(PortableConnections):
            async_driver = sync_driver = "pysqlite"
            requirement = "a-driver"

        sqlalchemys.register("twice.pysqlite", "sqlalchemy.dialects.sqlite.pysqlite", "SQLiteDialect_pysqlite")
        register_dialect("twice", DatabaseDialect(connections=Connections()))

        with pytest.raises(UnitOfWorkError, match=r"^twice\+pysqlite:// .* cannot be awaited; use the .* with `with`$"):
            _ = Database("twice:///shop").engine


class TestEntryPoints:
    def _declare(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        declared = EntryPoints([EntryPoint("crate", value, "layered_backend.dialects")])
        monkeypatch.setattr(registry, "entry_points", declared.select)

    def test_a_dialect_is_found_by_its_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._declare(monkeypatch, f"{__name__}:DIALECT")

        assert dialect_named("crate") is dialect_named("crate") is DIALECT

    def test_an_entry_point_that_cannot_be_loaded_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._declare(monkeypatch, "no_such_module:DIALECT")

        with pytest.raises(
            ImportError, match=r"crate = 'no_such_module:DIALECT' of .* cannot be loaded: No module named"
        ):
            dialect_named("crate")

    def test_an_entry_point_of_something_else_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._declare(monkeypatch, f"{__name__}:SOURCE")

        with pytest.raises(TypeError, match=r"crate = .* is to name a DatabaseDialect, not .*Path"):
            dialect_named("crate")


def test_nothing_but_a_dialect_asks_which_database_it_is() -> None:
    modules = [each for each in SOURCE.rglob("*.py") if "dialects" not in each.relative_to(SOURCE).parts]

    found = [f"{each.relative_to(SOURCE)}:{line}" for each in modules for line in _comparisons(each.read_text())]

    assert len(modules) > 100
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "engine.dialect.name == 'sqlite'",
        "'mysql' != name",
        "url.get_backend_name() in kinds",
        "url.drivername == 'sqlite+aiosqlite'",
        "name in ('mariadb', 'mysql')",
        "name.startswith('sqlite')",
        "{'sqlite': 1}[name]",
        "TYPES.get(dialect.name)",
        "TYPES[engine.dialect.name]",
    ],
)
def test_a_comparison_is_found(code: str) -> None:
    assert [*_comparisons(code)] == [1]


def _comparisons(code: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Compare():
                is_one = _is_of_database(node)
            case ast.Call(func=ast.Attribute(attr="startswith" | "get")) | ast.Subscript(slice=ast.Attribute()):
                is_one = _is_of_database(node)
            case ast.Dict():
                is_one = any(_is_named(key) for key in node.keys)
            case ast.match_case():
                is_one = _is_of_database(node.pattern)
            case _:
                continue
        if is_one:
            yield getattr(node, "lineno", 0)
            return


def _is_named(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split("+")[0] in DATABASES


def _is_of_database(node: ast.AST) -> bool:
    """Tell whether *node* has the name of a database in it, or asks for one."""
    return any(
        _is_named(each)
        or (isinstance(each, ast.Attribute) and each.attr == "get_backend_name")
        or (isinstance(each, ast.Attribute) and each.attr == "name" and ast.unparse(each.value).endswith("dialect"))
        for each in ast.walk(node)
    )
