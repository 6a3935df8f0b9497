"""Only the seam, `upstream/`, uses what other packages do not document."""

from __future__ import annotations

import textwrap
from types import ModuleType

import pytest

from tests.undocumented_uses import uses_below, uses_in


def test_no_module_outside_of_the_seam_uses_what_is_not_documented() -> None:
    found = list(map(str, uses_below()))

    assert not found, "move these to src/layered_backend/upstream (see docs/upstream.md):\n" + "\n".join(found)


class TestTheCheckItself:
    """What it finds, and what it lets pass."""

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("session._begin()", "_begin"),
            ("getattr(session, '_begin')", "'_begin'"),
            ("setattr(session, '_begin', 1)", "'_begin'"),
            ("f'{1}'.join(vars(x)['_begin'])", "'_begin'"),
            ("rollback(_capture_exception=True)", "_capture_exception"),
            ("from sqlalchemy.orm import _hidden", "sqlalchemy.orm._hidden"),
            ("import psycopg._psycopg", "psycopg._psycopg"),
            ("from sqlalchemy.util import await_only", "sqlalchemy.util"),
            ("import unheard_of", "unheard_of"),
            ("from layered_backend.session import _Hidden", "layered_backend.session._Hidden"),
            ("connection.__class__ = Other", "__class__"),
            ("first.__class__, first.__dict__ = kind, state", "__dict__"),
            ("setattr(connection, '__class__', Other)", "setattr(...)"),
            ("vars(entry)['info'] = {}", "vars(...)[...] = ..."),
            ("entry.__dict__['info'] = {}", "vars(...)[...] = ..."),
            ("vars(entity).update(row)", "vars(...).update(...)"),
            ("class Own(Base):\n    def method(self):\n        return self._of_base", "_of_base"),
            ("class Own(Base):\n    def method(self):\n        return super()._of_base()", "_of_base"),
        ],
    )
    def test_a_use_is_found(self, code: str, name: str) -> None:
        assert name in {use.name for use in uses_in(code, "module.py")}

    @pytest.mark.parametrize(
        "code",
        [
            "import sqlalchemy.orm, asyncio, layered_backend.session",
            "row._asdict()['_']",
            "type(self).__name__, self.__class__, function.__wrapped__",
            "def _own(): ...\nmodule._own()",
            "class Own:\n    def __init__(self):\n        self._kept = 1\n    def equals(self, other):\n        return other._kept",
            "'_ and words', '__getattribute__'",
            "Model.model_construct(_fields_set=set())",
        ],
    )
    def test_what_is_documented_or_ones_own_passes(self, code: str) -> None:
        assert list(uses_in(code, "module.py")) == []

    def test_an_overridden_name_of_another_package_is_found_with_its_line(self) -> None:
        code = textwrap.dedent("""
            from sqlalchemy import Connection

            class Observed(Connection):
                def _commit_impl(self):
                    super()._commit_impl()
        """)

        assert list(map(str, uses_in(code, "module.py", _module(code)))) == ["module.py:5: _commit_impl"]

    def test_a_name_of_our_own_base_class_may_be_used_on_self(self) -> None:
        code = textwrap.dedent("""
            from layered_backend import UnitOfWork

            class Own(UnitOfWork):
                def method(self):
                    return self._session

            def function(uow):
                return uow._session
        """)

        assert list(map(str, uses_in(code, "module.py", _module(code)))) == ["module.py:9: _session"]


def _module(code: str) -> ModuleType:
    """Return what *code* makes, as a module of a package of its own."""
    module = ModuleType("layered_backend.made_for_a_test")
    exec(code, vars(module))  # noqa: S102  # our own
    return module
