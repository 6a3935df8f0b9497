"""Finds, in the source of a package, what it uses of other modules that their owners do not document.

    python -m tests.undocumented_uses

prints what is left outside of `upstream/`. Such a use is

- a name with a leading underscore: an attribute, an argument, an import, or a string that may be given to `getattr`. A
  module may use the names that it defines, and on `self` and `cls` those of this package's own base classes;
- a name with a leading underscore that a class overrides in a class of another package;
- an assignment to `__class__`, to `__dict__` or to `vars(...)`;
- an import from a module of another package that is not in DOCUMENTED_MODULES.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["DOCUMENTED_MODULES", "SOURCE", "Use", "uses_below", "uses_in"]

SOURCE = Path(__file__).parents[1] / "src"

DOCUMENTED_MODULES = frozenset(
    {
        # https://alembic.sqlalchemy.org/en/latest/api/
        *("alembic", "alembic.autogenerate", "alembic.autogenerate.api", "alembic.command", "alembic.config"),
        *("alembic.operations.ops", "alembic.runtime.environment", "alembic.runtime.migration", "alembic.script"),
        *("alembic.ddl.impl", "alembic.runtime.plugins", "alembic.util", "alembic.util.exc"),
        # https://fastapi.tiangolo.com/reference/ and the pages of its tutorial
        *("fastapi", "fastapi.exception_handlers", "fastapi.exceptions", "fastapi.openapi.models", "fastapi.responses"),
        *("fastapi.routing", "fastapi.security"),
        # https://pyjwt.readthedocs.io
        *("jwt", "jwt.algorithms", "jwt.exceptions"),
        # https://docs.pydantic.dev/latest/api/
        *("pydantic", "pydantic.fields", "pydantic_core", "pydantic_settings"),
        # https://docs.sqlalchemy.org
        *("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.engine.default", "sqlalchemy.engine.interfaces"),
        *("sqlalchemy.engine.reflection", "sqlalchemy.exc", "sqlalchemy.ext.asyncio", "sqlalchemy.ext.compiler"),
        *(
            "sqlalchemy.ext.associationproxy",
            "sqlalchemy.ext.hybrid",
            "sqlalchemy.orm",
            "sqlalchemy.orm.attributes",
            "sqlalchemy.orm.collections",
        ),
        *("sqlalchemy.orm.exc", "sqlalchemy.pool", "sqlalchemy.schema", "sqlalchemy.sql", "sqlalchemy.sql.compiler"),
        *("sqlalchemy.sql.expression", "sqlalchemy.sql.functions", "sqlalchemy.sql.operators"),
        *("sqlalchemy.sql.visitors", "sqlalchemy.types"),
        *("sqlalchemy.dialects", "sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql"),
        "sqlalchemy.dialects.sqlite",
        # https://www.starlette.io
        *("starlette.applications", "starlette.background", "starlette.exceptions", "starlette.requests"),
        *("starlette.responses", "starlette.routing", "starlette.types", "starlette.websockets"),
        # each has one page, or one module
        *("aiosqlite", "asyncmy", "asyncpg", "httpx2", "psycopg", "pymysql", "pytest", "pytest_asyncio", "pwdlib"),
        *(
            "pwdlib.exceptions",
            "pwdlib.hashers.argon2",
            "rich.console",
            "rich.progress",
            "rich.tree",
            "typer",
            "typing_extensions",
            "yaml",
        ),
    }
)

_OWN = ("layered_backend", "pytest_layered_backend")
_PRIVATE = re.compile(r"_[A-Za-z]\w*")
_DOCUMENTED = frozenset(
    {
        *("_asdict", "_fields", "_make", "_replace"),  # of collections.namedtuple
        "_fields_set",  # of pydantic.BaseModel.model_construct
    }
)
_SWAPPED = frozenset({"__class__", "__dict__"})


@dataclass(frozen=True, order=True)
class Use:
    """One use.

    Attributes:
        path: The file, below `src`.
        line: The line.
        name: What is used.
    """

    path: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


def uses_below(source: Path = SOURCE) -> Iterator[Use]:
    """Yield the uses in each file below *source* that is not the seam's."""
    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source)
        if "upstream" not in place.parts:
            module = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            yield from uses_in(path.read_text(encoding="utf-8"), place.as_posix(), import_module(module))


def uses_in(code: str, path: str, module: object = None) -> Iterator[Use]:
    """Yield the uses in *code*.

    Args:
        code: Python.
        path: Where it stands.
        module: The module that it is the code of, whose classes tell what they have from others.
    """
    found = _Finder(ast.parse(code), path, module)
    yield from sorted(set(found.uses))


@dataclass
class _Finder(ast.NodeVisitor):
    """Walks through a module."""

    tree: ast.Module
    path: str
    module: object
    uses: list[Use] = field(default_factory=list[Use])
    _from_our_bases: list[frozenset[str]] = field(default_factory=lambda: [frozenset[str]()])

    def __post_init__(self) -> None:
        self.visit(self.tree)

    @cached_property
    def _own_names(self) -> frozenset[str]:
        """The private names that the module defines."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    names.add(name)
                case _:
                    pass
        return frozenset(filter(_is_private, names))

    def _add(self, node: ast.AST, name: str) -> None:
        self.uses.append(Use(self.path, getattr(node, "lineno", 0), name))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        found: Any = getattr(self.module, node.name, None)
        kind: type[Any] | None = found if isinstance(found, type) else None
        overridden = _names_of_other_packages(kind)
        for each in node.body:
            for name in _defined_by(each):
                if name in overridden:
                    self._add(each, name)
        self._from_our_bases.append(_names_of_our_bases(kind))
        self.generic_visit(node)
        self._from_our_bases.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _is_private(node.attr) and not self._may_use(node):
            self._add(node, node.attr)
        if node.attr in _SWAPPED and isinstance(node.ctx, ast.Store):
            self._add(node, node.attr)
        self.generic_visit(node)

    def _may_use(self, node: ast.Attribute) -> bool:
        if node.attr in self._own_names:
            return True
        return _is_self(node.value) and node.attr in self._from_our_bases[-1]

    def visit_Subscript(self, node: ast.Subscript) -> None:
        match node:
            case ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars")) | ast.Attribute(attr="__dict__"), ctx=ast.Store()
            ):
                self._add(node, "vars(...)[...] = ...")
            case _:
                pass
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="vars")), attr="update"):
                self._add(node, "vars(...).update(...)")
            case ast.Name(id="setattr") if any(_is_swapped(argument) for argument in node.args):
                self._add(node, "setattr(...)")
            case _:
                pass
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg and _is_private(node.arg) and node.arg not in self._own_names:
            self._add(node.value, node.arg)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        text = node.value
        if isinstance(text, str) and _is_private(text) and text not in self._own_names:
            self._add(node, repr(text))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._check_module(node, node.module or "")
        for alias in node.names:
            if _is_private(alias.name):
                self._add(node, f"{node.module}.{alias.name}")

    def _check_module(self, node: ast.AST, name: str) -> None:
        top = name.partition(".")[0]
        if any(map(_is_private, name.split("."))) or (
            top not in sys.stdlib_module_names and top not in _OWN and name not in DOCUMENTED_MODULES
        ):
            self._add(node, name)


def _is_private(name: str) -> bool:
    return _PRIVATE.fullmatch(name) is not None and name not in _DOCUMENTED


def _defined_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement in a class's body defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case _:
            pass


def _is_self(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
        case _:
            return False


def _is_swapped(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in _SWAPPED


def _is_ours(kind: type[Any]) -> bool:
    return kind.__module__.partition(".")[0] in _OWN


def _names_of_other_packages(kind: type[Any] | None) -> frozenset[str]:
    """Return the private names that a class has from classes of other packages."""
    bases = () if kind is None else kind.__mro__
    return frozenset(name for base in bases if not _is_ours(base) for name in vars(base) if _is_private(name))


def _names_of_our_bases(kind: type[Any] | None) -> frozenset[str]:
    """Return the private names that a class has from this package's other modules, those included that they set on `self`."""
    bases = (
        [] if kind is None else [base for base in kind.__mro__ if _is_ours(base) and base.__module__ != kind.__module__]
    )
    return frozenset(name for base in bases for name in (*vars(base), *_set_on_self(base)) if _is_private(name))


@cache
def _tree_of(module: str) -> ast.Module:
    path = sys.modules[module].__file__
    assert path is not None
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _set_on_self(kind: type[Any]) -> Iterator[str]:
    """Yield what the methods of one of our own classes assign to."""
    for node in ast.walk(_tree_of(kind.__module__)):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            for each in ast.walk(node):
                match each:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        yield name
                    case _:
                        pass


if __name__ == "__main__":
    for use in uses_below():
        print(use)  # noqa: T201  # it is asked to
